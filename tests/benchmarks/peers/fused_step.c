/* The reference loop for the step of many small networks: forward, cross-entropy, backward and Adam of 4-16-3 with ReLU,
   batches of 2, eight runs interleaved, all in the first-level cache. Written by hand for this one structure.
   fused_step GROUPS EPOCHS: prints microseconds of processor time for a step of one run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#define L 8
enum { I = 4, H = 16, O = 3, B = 2, ROWS = 100, P = I * H + H + H * O + O };
typedef float V __attribute__((vector_size(L * 4)));
typedef int W __attribute__((vector_size(L * 4)));
#define PICK(m, a, b) ((V)(((m) & (W)(a)) | (~(m) & (W)(b))))
static V all(float a) { V v; for (int l = 0; l < L; l++) v[l] = a; return v; }
static V vexp(V x) {
  V t = x * 1.44269504f + 12582912.f, k = t - 12582912.f, f = x * 1.44269504f - k, p = all(1.5403530e-4f);
  p = p * f + 1.3333558e-3f; p = p * f + 9.6181291e-3f; p = p * f + 5.5504109e-2f;
  p = p * f + 2.4022651e-1f; p = p * f + 6.9314718e-1f; p = p * f + 1.f;
  return (V)((W)p + (((W)t - (W)all(12582912.f)) << 23));
}
static V root(V a) { V r; for (int l = 0; l < L; l++) r[l] = sqrtf(a[l]); return r; }
typedef struct { V p[P], m[P], v[P]; } Group;
int main(int count, char **words) {
  int groups = atoi(words[1]), epochs = atoi(words[2]);
  static float x[ROWS][I]; static int y[ROWS]; static int order[L][ROWS];
  for (int r = 0; r < ROWS; r++) { y[r] = r % O; for (int i = 0; i < I; i++) x[r][i] = (y[r] - 1) * .5f + (rand() % 1000) / 700.f - .7f; }
  for (int l = 0; l < L; l++) for (int r = 0; r < ROWS; r++) order[l][r] = (r * 7 + l * 13) % ROWS;
  Group *all_groups = aligned_alloc(64, sizeof(Group) * groups);
  for (int q = 0; q < groups; q++) for (int k = 0; k < P; k++) for (int l = 0; l < L; l++) {
    all_groups[q].p[k][l] = ((rand() % 2001) / 1000.f - 1) * (k < I * H + H ? .5f : .25f);
    all_groups[q].m[k][l] = all_groups[q].v[k][l] = 0;
  }
  V total = all(0); const V zero = all(0);
  clock_t start = clock();
  for (int q = 0; q < groups; q++) {
    V *p = all_groups[q].p, *w1 = p, *b1 = p + I * H, *w2 = b1 + H, *b2 = w2 + H * O, *m = all_groups[q].m, *v = all_groups[q].v;
    float p1 = 1, p2 = 1;
    for (int e = 0; e < epochs; e++) for (int s = 0; s + B <= ROWS; s += B) {
      V in[B][I], h[B][H], d[B][O], g[P]; W want[B];
      for (int b = 0; b < B; b++) for (int l = 0; l < L; l++) { int r = order[l][s + b]; want[b][l] = y[r]; for (int i = 0; i < I; i++) in[b][i][l] = x[r][i]; }
      for (int j = 0; j < H; j++) for (int b = 0; b < B; b++) { V z = b1[j]; for (int i = 0; i < I; i++) z += in[b][i] * w1[j * I + i]; h[b][j] = PICK(z > zero, z, zero); }
      for (int b = 0; b < B; b++) {
        V z[O], ex[O], sum = zero;
        for (int o = 0; o < O; o++) { z[o] = b2[o]; for (int j = 0; j < H; j++) z[o] += h[b][j] * w2[o * H + j]; }
        V top = PICK(z[0] > z[1], z[0], z[1]); top = PICK(top > z[2], top, z[2]);
        for (int o = 0; o < O; o++) sum += ex[o] = vexp(z[o] - top);
        for (int o = 0; o < O; o++) { V one = PICK(want[b] == o, all(1), zero), share = ex[o] / sum; d[b][o] = (share - one) * .5f; total += one * (1 - share); }
      }
      for (int j = 0; j < H; j++) { V t0 = zero, t1 = zero; for (int o = 0; o < O; o++) { t0 += d[0][o] * w2[o * H + j]; t1 += d[1][o] * w2[o * H + j]; }
        t0 = PICK(h[0][j] > zero, t0, zero); t1 = PICK(h[1][j] > zero, t1, zero);
        for (int i = 0; i < I; i++) g[j * I + i] = in[0][i] * t0 + in[1][i] * t1;
        g[I * H + j] = t0 + t1;
        for (int o = 0; o < O; o++) g[I * H + H + o * H + j] = d[0][o] * h[0][j] + d[1][o] * h[1][j]; }
      for (int o = 0; o < O; o++) g[I * H + H + H * O + o] = d[0][o] + d[1][o];
      p1 *= .9f; p2 *= .999f;
      float size = .001f / (1 - p1), scale = 1 / sqrtf(1 - p2);
      for (int k = 0; k < P; k++) { m[k] = m[k] * .9f + g[k] * .1f; v[k] = v[k] * .999f + g[k] * g[k] * .001f; p[k] -= size * m[k] / (root(v[k]) * scale + 1e-8f); }
    }
  }
  double used = (double)(clock() - start) / CLOCKS_PER_SEC;
  fprintf(stderr, "%f\n", total[0]);
  printf("%.6f\n", used / ((double)groups * L * epochs * (ROWS / B)) * 1e6);
}
