/* Epochs of many runs: forward, loss, backward, clipping and update of each step, for a block of runs at a time.

   `fused/source.py` joins this text with operations.c and epochs.c, and with how the operations of a program are called.
   A value V holds one number of each run of the block: a vector of LANES numbers on a CPU, one number of a thread's own
   run on a GPU. The parameters, the optimiser's state and all layers of a block stay in the nearest cache for the whole
   epoch. Comparisons are written so that NaN stays NaN, and runs never meet: one that diverges changes no other. */

/* Of 64 bits; NVRTC brings no headers that define such types. */
typedef long long Whole;
typedef unsigned long long Bits;

#ifdef __CUDACC__
#define INLINE __device__ __forceinline__
#define S 32 /* distance of two values of a run in shared memory: a warp's lanes lie beside each other */
typedef REAL V;
typedef bool M;
#define SELECT(mask, a, b) ((mask) ? (a) : (b))
#define UNROLL _Pragma("unroll")
#define LANES 1
#define LANE(v) (v)
#else
#include <math.h>
#define INLINE static inline __attribute__((always_inline))
#define S 1
#ifndef VECTOR /* bytes */
#if defined(__AVX512F__)
#define VECTOR 64
#elif defined(__AVX__)
#define VECTOR 32
#else
#define VECTOR 16
#endif
#endif
#define LANES (VECTOR / (int)sizeof(REAL))
typedef REAL V __attribute__((vector_size(LANES * sizeof(REAL))));
typedef INTEGER M __attribute__((vector_size(LANES * sizeof(REAL))));
#define SELECT(mask, a, b) ((V)(((mask) & (M)(a)) | (~(mask) & (M)(b))))
#define UNROLL _Pragma("GCC unroll 16")
#define LANE(v) (v)[l]
#endif
#if SPECIAL /* every size is known when it is compiled */
#define ONCE INLINE
#else
#define ONCE static __attribute__((noinline))
#endif
#define EACH_LANE for (int l = 0; l < LANES; l++)

INLINE V splat(REAL a) { V v; EACH_LANE LANE(v) = a; return v; }
INLINE V vsqrt(V a) { V v; EACH_LANE LANE(v) = SQRT(LANE(a)); return v; }

#if defined(__CUDACC__) || DOUBLE
/* The library's own functions, a lane at a time. */
#define BY_LANE(name, function) INLINE V name(V a) { V v; EACH_LANE LANE(v) = function(LANE(a)); return v; }
BY_LANE(vexp, LIBRARY(exp))
BY_LANE(vexpm1, LIBRARY(expm1))
BY_LANE(vlog, LIBRARY(log))
BY_LANE(vlog1p, LIBRARY(log1p))
BY_LANE(vtanh, LIBRARY(tanh))
BY_LANE(verf, LIBRARY(erf))
#else
/* Single precision in vectors: range reduction and polynomials of Cephes (S. Moshier), errors of an ulp or two. */
#define MAGIC 12582912.0f /* 1.5 * 2^23: adding it rounds to a whole number, which the low bits then hold */

INLINE V power_of_two(M k) { return (V)((k + 127) << 23); }

/* expm1 of the remainder of x, and the power of two that it is to be multiplied with. */
INLINE V reduced(V x, M *power) {
  V t = x * 1.44269504f + MAGIC, k = t - MAGIC;
  *power = (M)t - (M)splat(MAGIC);
  V f = x - k * 0.693359375f - k * -2.12194440e-4f;
  V p = splat(1.9875691500e-4f);
  p = p * f + 1.3981999507e-3f;
  p = p * f + 8.3334519073e-3f;
  p = p * f + 4.1665795894e-2f;
  p = p * f + 1.6666665459e-1f;
  p = p * f + 5.0000001201e-1f;
  return p * (f * f) + f;
}
INLINE V vexp(V x) {
  M k;
  x = SELECT(x < -110.0f, splat(-110.0f), x);
  x = SELECT(x > 90.0f, splat(90.0f), x);
  V p = reduced(x, &k) + 1.0f;
  M half = k >> 1;
  return p * power_of_two(half) * power_of_two(k - half); /* in two steps: the power alone may be out of range */
}
INLINE V vexpm1(V x) {
  M k;
  x = SELECT(x < -80.0f, splat(-80.0f), x);
  x = SELECT(x > 88.0f, splat(88.0f), x);
  V p = reduced(x, &k), power = power_of_two(k);
  return p * power + (power - 1.0f);
}
INLINE V vlog(V x) {
  V special = SELECT(x == 0.0f, splat(-INFINITY), splat(NAN)), given = x;
  V larger = SELECT(x < 1.17549435e-38f, x * 8388608.0f, x); /* numbers below the normal ones */
  M bits = (M)larger, k = ((bits >> 23) & 255) - 126;
  V e = __builtin_convertvector(k, V) - SELECT(x < 1.17549435e-38f, splat(23.0f), splat(0.0f));
  V m = (V)((bits & 0x807fffff) | 0x3f000000);
  M small = m < 0.707106781f;
  e = SELECT(small, e - 1.0f, e);
  m = SELECT(small, m + m, m) - 1.0f;
  V z = m * m, y = splat(7.0376836292e-2f);
  y = y * m - 1.1514610310e-1f;
  y = y * m + 1.1676998740e-1f;
  y = y * m - 1.2420140846e-1f;
  y = y * m + 1.4249322787e-1f;
  y = y * m - 1.6668057665e-1f;
  y = y * m + 2.0000714765e-1f;
  y = y * m - 2.4999993993e-1f;
  y = y * m + 3.3333331174e-1f;
  y = y * m * z - 2.12194440e-4f * e - 0.5f * z;
  V result = m + y + 0.693359375f * e;
  result = SELECT(given > 0.0f, result, special);
  return SELECT(given == INFINITY, given, result);
}
INLINE V vlog1p(V x) {
  V u = x + 1.0f;
  V result = vlog(u) * (x / (u - 1.0f)); /* corrects what rounding u lost */
  result = SELECT(u == 1.0f, x, result);
  return SELECT(u == INFINITY, u, result);
}
INLINE V vtanh(V x) {
  x = SELECT(x < -9.1f, splat(-9.1f), x);
  x = SELECT(x > 9.1f, splat(9.1f), x);
  V e = vexpm1(x + x);
  return e / (e + 2.0f);
}
INLINE V verf(V x) { /* a rational approximation on [-4, 4], as XLA's */
  x = SELECT(x < -4.0f, splat(-4.0f), x);
  x = SELECT(x > 4.0f, splat(4.0f), x);
  V z = x * x, p = splat(-2.72614225801306e-10f), q = splat(-1.45660718464996e-05f);
  p = p * z + 2.77068142495902e-08f;
  p = p * z - 2.10102402082508e-06f;
  p = p * z - 5.69250639462346e-05f;
  p = p * z - 7.34990630326855e-04f;
  p = p * z - 2.95459980854025e-03f;
  p = p * z - 1.60960333262415e-02f;
  q = q * z - 2.13374055278905e-04f;
  q = q * z - 1.68282697438203e-03f;
  q = q * z - 7.37332916720468e-03f;
  q = q * z - 1.42647390514189e-02f;
  return x * p / q;
}
#endif

#define ZERO splat(0)
#define ONE splat(1)

/* Activations: y of x, and the gradient of x from g, that of y. */
INLINE V relu(V x) { return SELECT(x < ZERO, ZERO, x); }
INLINE V relu_grad(V g, V y) { return SELECT(y <= ZERO, ZERO, g); }
INLINE V leaky_relu(V x, REAL slope) { return SELECT(x > ZERO, x, x * slope); }
INLINE V leaky_relu_grad(V g, V x, REAL slope) { return SELECT(x > ZERO, g, g * slope); }
INLINE V sigmoid(V x) { return ONE / (ONE + vexp(-x)); }
INLINE V sigmoid_grad(V g, V y) { return g * y * (ONE - y); }
INLINE V tanh_grad(V g, V y) { return g * (ONE - y * y); }
INLINE V silu(V x) { return x * sigmoid(x); }
INLINE V silu_grad(V g, V x) { V s = sigmoid(x); return g * s * (ONE + x * (ONE - s)); }
INLINE V elu(V x, REAL alpha, REAL scale) { return SELECT(x <= ZERO, vexpm1(SELECT(x > ZERO, ZERO, x)) * (alpha * scale), x * scale); }
INLINE V elu_grad(V g, V x, REAL alpha, REAL scale) {
  return SELECT(x <= ZERO, g * (alpha * scale) * vexp(SELECT(x > ZERO, ZERO, x)), g * scale);
}
INLINE V gelu(V x) { return x * (REAL)0.5 * (ONE + verf(x * (REAL)0.70710678118654752440)); }
INLINE V gelu_grad(V g, V x) {
  V cdf = (ONE + verf(x * (REAL)0.70710678118654752440)) * (REAL)0.5;
  V pdf = vexp(x * x * (REAL)-0.5) * (REAL)0.39894228040143267794;
  return g * (cdf + x * pdf);
}
#define GELU_BETA (REAL)0.79788456080286535588
#define GELU_KAPPA (REAL)0.044715
INLINE V gelu_tanh(V x) { return x * (REAL)0.5 * (ONE + vtanh((x + x * x * x * GELU_KAPPA) * GELU_BETA)); }
INLINE V gelu_tanh_grad(V g, V x) {
  V t = vtanh((x + x * x * x * GELU_KAPPA) * GELU_BETA);
  V inner = (ONE + x * x * (3 * GELU_KAPPA)) * GELU_BETA;
  return g * ((ONE + t) * (REAL)0.5 + x * (REAL)0.5 * (ONE - t * t) * inner);
}
INLINE V softplus(V x, REAL beta, REAL threshold) {
  return SELECT(x * beta > splat(threshold), x, vlog1p(vexp(x * beta)) / beta);
}
INLINE V softplus_grad(V g, V x, REAL beta, REAL threshold) {
  return SELECT(x * beta > splat(threshold), g, g * sigmoid(x * beta));
}
INLINE V mish(V x) { return x * vtanh(vlog1p(vexp(x))); }
INLINE V mish_grad(V g, V x) {
  V t = vtanh(vlog1p(vexp(x)));
  return g * (t + x * sigmoid(x) * (ONE - t * t));
}

INLINE V largest(const V *x, int units) {
  V top = x[0];
  for (int k = 1; k < units; k++) top = SELECT(x[k * S] > top, x[k * S], top);
  return top;
}
INLINE void softmax(const V *x, V *y, int units) {
  V top = largest(x, units), total = ZERO;
  for (int k = 0; k < units; k++) total += y[k * S] = vexp(x[k * S] - top);
  total = ONE / total;
  for (int k = 0; k < units; k++) y[k * S] *= total;
}
INLINE void softmax_grad(V *g, const V *y, int units) {
  V total = ZERO;
  for (int k = 0; k < units; k++) total += g[k * S] * y[k * S];
  for (int k = 0; k < units; k++) g[k * S] = (g[k * S] - total) * y[k * S];
}
INLINE void log_softmax(const V *x, V *y, int units) {
  V top = largest(x, units), total = ZERO;
  for (int k = 0; k < units; k++) total += vexp(x[k * S] - top);
  V shift = top + vlog(total);
  for (int k = 0; k < units; k++) y[k * S] = x[k * S] - shift;
}
INLINE void log_softmax_grad(V *g, const V *y, int units) {
  V total = ZERO;
  for (int k = 0; k < units; k++) total += g[k * S];
  for (int k = 0; k < units; k++) g[k * S] -= vexp(y[k * S]) * total;
}

/* Losses: the sum over a row's outputs, and the gradient of the mean. y: the target, a class as a number. */
INLINE V cross_entropy(const V *z, const V *y, V *g, int outputs, V scale) {
  V top = largest(z, outputs), total = ZERO, chosen = ZERO;
  for (int k = 0; k < outputs; k++) {
    V e = vexp(z[k * S] - top);
    total += e;
    g[k * S] = e;
    chosen = SELECT(y[0] == splat(k), z[k * S], chosen);
  }
  V each = scale / total;
  for (int k = 0; k < outputs; k++) g[k * S] = g[k * S] * each - SELECT(y[0] == splat(k), scale, ZERO);
  return top - chosen + vlog(total);
}
INLINE V nll(const V *z, const V *y, V *g, int outputs, V scale) {
  V chosen = ZERO;
  for (int k = 0; k < outputs; k++) {
    chosen = SELECT(y[0] == splat(k), z[k * S], chosen);
    g[k * S] = SELECT(y[0] == splat(k), -scale, ZERO);
  }
  return -chosen;
}
INLINE V mse(const V *z, const V *y, V *g, int outputs, V scale) {
  V total = ZERO;
  for (int k = 0; k < outputs; k++) {
    V e = z[k * S] - y[k * S];
    total += e * e;
    g[k * S] = e * (scale + scale);
  }
  return total;
}
INLINE V l1(const V *z, const V *y, V *g, int outputs, V scale) {
  V total = ZERO;
  for (int k = 0; k < outputs; k++) {
    V e = z[k * S] - y[k * S];
    total += SELECT(e < ZERO, -e, e);
    g[k * S] = SELECT(e > ZERO, scale, SELECT(e < ZERO, -scale, ZERO));
  }
  return total;
}
INLINE V huber(const V *z, const V *y, V *g, int outputs, V scale, REAL delta) {
  V total = ZERO;
  for (int k = 0; k < outputs; k++) {
    V e = z[k * S] - y[k * S], size = SELECT(e < ZERO, -e, e);
    total += SELECT(size > splat(delta), (size - delta * (REAL)0.5) * delta, e * e * (REAL)0.5);
    g[k * S] = scale * SELECT(e < splat(-delta), splat(-delta), SELECT(e > splat(delta), splat(delta), e));
  }
  return total;
}
INLINE V bce(const V *z, const V *y, V *g, int outputs, V scale) {
  V total = ZERO, least = splat(-100), tiny = splat((REAL)1e-12);
  for (int k = 0; k < outputs; k++) {
    V p = z[k * S], t = y[k * S], yes = vlog(p), no = vlog1p(-p), spread = (ONE - p) * p;
    yes = SELECT(yes < least, least, yes);
    no = SELECT(no < least, least, no);
    total += (t - ONE) * no - t * yes;
    g[k * S] = scale * (p - t) / SELECT(spread < tiny, tiny, spread);
  }
  return total;
}
INLINE V bce_logits(const V *z, const V *y, V *g, int outputs, V scale) {
  V total = ZERO;
  for (int k = 0; k < outputs; k++) {
    V x = z[k * S], t = y[k * S], size = SELECT(x < ZERO, -x, x);
    total += SELECT(x < ZERO, ZERO, x) - x * t + vlog1p(vexp(-size));
    g[k * S] = scale * (sigmoid(x) - t);
  }
  return total;
}

#if defined(__AVX512F__) && !defined(__CUDACC__)
#define TILE 16 /* of 32 registers */
#else
#define TILE 8 /* of 16 */
#endif

/* c[m][n] = start[n] + sum over k of a[m][k] * b[k][n], a tile of c at a time in registers. Steps are in values. */
INLINE void tile(int rows, int columns, int depth, const V *a, int am, int ak, const V *b, int bk, int bn,
                 const V *start, V *c, int cm) {
  V sum[TILE];
  UNROLL for (int m = 0; m < rows; m++)
    UNROLL for (int n = 0; n < columns; n++) sum[m * columns + n] = start ? start[n * S] : ZERO;
  for (int k = 0; k < depth; k++) {
    V left[TILE], right[TILE];
    UNROLL for (int m = 0; m < rows; m++) left[m] = a[(m * am + k * ak) * S];
    UNROLL for (int n = 0; n < columns; n++) right[n] = b[(k * bk + n * bn) * S];
    UNROLL for (int m = 0; m < rows; m++)
      UNROLL for (int n = 0; n < columns; n++) sum[m * columns + n] += left[m] * right[n];
  }
  UNROLL for (int m = 0; m < rows; m++)
    UNROLL for (int n = 0; n < columns; n++) c[(m * cm + n) * S] = sum[m * columns + n];
}
/* Tiles of `width` columns, from column n on. Afterwards n is the first column that no tile covers yet. */
#define COLUMNS(width)                                                                                             \
  for (; n + (width) <= columns; n += (width))                                                                     \
    tile(tm, width, depth, a + m * am * S, am, ak, b + n * bn * S, bk, bn, start ? start + n * S : 0,               \
         c + (m * cm + n) * S, cm);
INLINE void tiles_of(int tm, int tn, int rows, int columns, int depth, const V *a, int am, int ak, const V *b, int bk,
                     int bn, const V *start, V *c, int cm) {
  int m = 0;
  for (; m + tm <= rows; m += tm) {
    int n = 0;
    COLUMNS(tn)
    if (tn > 2) COLUMNS(2)
    COLUMNS(1)
  }
  for (tm = 1; m < rows; m++) {
    int n = 0;
    COLUMNS(1)
  }
}
ONCE void product(int rows, int columns, int depth, const V *a, int am, int ak, const V *b, int bk, int bn,
                  const V *start, V *c, int cm) {
  /* The larger tiles read less for each product, but take longer to begin and to end. */
  const int large = TILE > 8 && columns >= 16, deep = SPECIAL || depth >= 16;
  if (rows >= 4 && large && deep) tiles_of(4, 4, rows, columns, depth, a, am, ak, b, bk, bn, start, c, cm);
  else if (rows >= 4) tiles_of(4, 2, rows, columns, depth, a, am, ak, b, bk, bn, start, c, cm);
  else if (rows >= 2 && large && SPECIAL) tiles_of(2, 8, rows, columns, depth, a, am, ak, b, bk, bn, start, c, cm);
  else if (rows >= 2) tiles_of(2, 4, rows, columns, depth, a, am, ak, b, bk, bn, start, c, cm);
  else tiles_of(1, 8, rows, columns, depth, a, am, ak, b, bk, bn, start, c, cm);
}
INLINE void linear(int rows, int inputs, int outputs, const V *x, const V *weight, const V *bias, V *y) {
  product(rows, outputs, inputs, x, inputs, 1, weight, 1, inputs, bias, y, outputs);
}
INLINE void linear_grad(int rows, int inputs, int outputs, const V *g, const V *x, V *weight, V *bias) {
  product(outputs, inputs, rows, g, 1, outputs, x, inputs, 1, 0, weight, inputs);
  if (bias)
    for (int k = 0; k < outputs; k++) {
      V total = g[k * S];
      for (int row = 1; row < rows; row++) total += g[(row * outputs + k) * S];
      bias[k * S] = total;
    }
}
INLINE void linear_input_grad(int rows, int inputs, int outputs, const V *g, const V *weight, V *x) {
  product(rows, inputs, outputs, g, outputs, 1, weight, inputs, 1, 0, x, inputs);
}

/* Dropout's factors. mixed: of the step and the layer; run: each lane's. */
INLINE V dropout_mask(const Whole *seeds, const Whole *run, Bits mixed, int position, double p) {
  V v;
  EACH_LANE {
    Bits x = (Bits)seeds[run[l]] * 0x9e3779b97f4a7c15ULL + mixed + (Bits)position * 0xdb4f0b9175ae2165ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    LANE(v) = (double)((x ^ (x >> 31)) >> 11) * 0x1p-53 >= p ? (REAL)(1 / (1 - p)) : 0;
  }
  return v;
}

/* A step of a program (`fused/program.py`), whose fields its class explains. */
typedef struct {
  int kind, at, to, gradient, units, outputs, weight, bias, layer;
  double a, b;
} Operation;

/* What some epochs of a stack read and write. Arrays whose runs come last hold each value of all runs side by side. */
typedef struct {
  Whole runs, rows, epochs;                                    /* rows: of the training part */
  Whole begin, end;                                            /* steps of an epoch: all, unless there is one epoch */
  Whole steps_before, masks_before;                            /* of the optimiser; of dropout's masks */
  REAL *parameters, *states[3];                                /* (values, runs) */
  REAL *snapshots;                                             /* (epochs, values, runs): parameters after each epoch */
  REAL *finite;                                                /* (epochs, runs): whether all of these are finite */
  const REAL *x, *y;                                           /* (table rows, FEATURES), (table rows, TARGETS) */
  const Whole *order;                                          /* (epochs, runs, rows): rows of the table */
  const double *lr, *root, *shrink;                            /* a number for each step and run: see `update` */
  Whole lr_step, lr_run, root_step, root_run, shrink_step, shrink_run; /* distances in the three above */
  const double *settings;                                      /* (SETTINGS, runs) */
  const Whole *seeds;                                          /* (runs,) of dropout's masks */
  REAL *losses;                                                /* (steps of an epoch, epochs, runs) */
  REAL *predictions;                                           /* (rows, OUTPUTS, epochs, runs), unless COUNTS */
  REAL *right;                                                 /* (epochs, runs), if COUNTS: how many rows were right */
  const REAL *valid_x, *valid_y;                               /* (table rows, FEATURES or TARGETS) */
  const Whole *valid_starts;                                   /* (runs,): where valid_rows of them begin; or 0: there */
  Whole valid_rows;
  REAL *valid_predictions, *valid_right;                       /* as those of the training part */
  double *valid_losses;                                        /* (epochs, runs), if COUNTS: sums over the rows */
  const int *numbers;                                          /* NUMBERS of the program; from here: on a CPU */
  const Operation *operations;                                 /* its operations: */
  Whole forward, all;                                          /* those up to the prediction, and all */
} Epochs;

/* The lanes of a block: the run of each, and how many of them are runs of their own. */
typedef struct {
  Whole run[LANES];
  int count;
} Lanes;

/* A number of a step for each lane; a distance of 0 says that all runs, or all steps, have the same. */
INLINE V per_step(const double *values, Whole step, Whole step_distance, Whole run_distance, const Lanes *lanes) {
  V v;
  values += step * step_distance;
  if (!run_distance) return splat((REAL)*values);
#ifndef __CUDACC__
  if (lanes->count == LANES) {
    values += lanes->run[0];
    EACH_LANE LANE(v) = (REAL)values[l];
    return v;
  }
#endif
  EACH_LANE LANE(v) = (REAL)values[lanes->run[l]];
  return v;
}
INLINE V load(const REAL *values, const Lanes *lanes) {
  V v;
#ifndef __CUDACC__
  if (lanes->count == LANES) {
    __builtin_memcpy(&v, values + lanes->run[0], sizeof v);
    return v;
  }
#endif
  EACH_LANE LANE(v) = values[lanes->run[l]];
  return v;
}
INLINE void store(REAL *values, V v, const Lanes *lanes) {
#ifndef __CUDACC__
  if (lanes->count == LANES) {
    __builtin_memcpy(values + lanes->run[0], &v, sizeof v);
    return;
  }
#endif
  EACH_LANE if (l < lanes->count) values[lanes->run[l]] = LANE(v);
}
