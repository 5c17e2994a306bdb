/* The orders of the rows in an epoch that torch.randperm draws on a CPU, for eight generators side by side.

   torch.Generator().manual_seed(seed) is a Mersenne Twister (MT19937) seeded with the low 32 bits; torch.randperm swaps
   each place in turn with one of those after it, chosen by the remainder of one number of the stream. */

#include <stdint.h>

#define LANES 8
#define NUMBERS 624 /* of the generator's state */
#define SHIFT 397

typedef uint32_t U __attribute__((vector_size(LANES * sizeof(uint32_t))));

static inline U mixed(U here, U next, U far) {
  U y = (here & 0x80000000u) | (next & 0x7fffffffu);
  return far ^ (y >> 1) ^ (-(y & 1u) & 0x9908b0dfu);
}

/* Makes the first `count` numbers of the next block of the stream; later ones follow from a whole block only. */
static void advance(U *state, int count) {
  int k = 0;
  for (; k < count && k < NUMBERS - SHIFT; k++) state[k] = mixed(state[k], state[k + 1], state[k + SHIFT]);
  for (; k < count && k < NUMBERS - 1; k++) state[k] = mixed(state[k], state[k + 1], state[k + SHIFT - NUMBERS]);
  if (k < count) state[k] = mixed(state[k], state[0], state[k + SHIFT - NUMBERS]);
}

static inline U tempered(U y) {
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

/* seeds: (runs,); orders: (runs, rows). rows is below 2^32 / 20, as beyond it torch draws otherwise. */
void orders(const int64_t *seeds, int64_t runs, int64_t rows, int64_t *orders) {
  U state[NUMBERS];
  for (int64_t first = 0; first < runs; first += LANES) {
    int count = runs - first < LANES ? (int)(runs - first) : LANES;
    for (int l = 0; l < LANES; l++) state[0][l] = (uint32_t)seeds[first + (l < count ? l : 0)];
    for (int k = 1; k < NUMBERS; k++) state[k] = 1812433253u * (state[k - 1] ^ (state[k - 1] >> 30)) + (uint32_t)k;
    for (int l = 0; l < count; l++)
      for (int64_t row = 0; row < rows; row++) orders[(first + l) * rows + row] = row;
    int at = NUMBERS;
    for (int64_t row = 0; row < rows - 1; row++) {
      if (at == NUMBERS) {
        advance(state, rows - 1 - row < NUMBERS ? (int)(rows - 1 - row) : NUMBERS);
        at = 0;
      }
      U drawn = tempered(state[at++]);
      for (int l = 0; l < count; l++) {
        int64_t *order = orders + (first + l) * rows + row, other = drawn[l] % (uint32_t)(rows - row), kept = order[0];
        order[0] = order[other];
        order[other] = kept;
      }
    }
  }
}
