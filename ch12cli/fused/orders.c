/* The orders of the rows in an epoch that torch.randperm draws on a CPU: for sixteen generators side by side on a
   CPU, which hides how long each step of a generator takes; for a generator in each thread on a GPU.

   torch.Generator().manual_seed(seed) is a Mersenne Twister (MT19937) seeded with the low 32 bits; torch.randperm swaps
   each place in turn with one of those after it, chosen by the remainder of one number of the stream. */

typedef long long Whole; /* of 64 bits; NVRTC brings no headers that define such types */
typedef unsigned int Word;
typedef unsigned long long Bits; /* 64, too */

#define NUMBERS 624 /* of the generator's state */
#define SHIFT 397

#ifdef __CUDACC__
typedef Word U;
#define LANES 1
#define LANE(v) (v)
#define INLINE __device__ __forceinline__
#define INVERSE(divisor) 0
#define REMAINDER(number, divisor, inverse) ((number) % (divisor))
#define S ((Whole)gridDim.x * 32) /* distance of two words of a state: those of all threads lie beside each other */
#else
#define LANES 16
#define LANE(v) (v)[l]
#define INLINE static inline
/* The remainder of a number of 32 bits as two products, exactly (Lemire and others, 2019): inverse is of 2^64. */
#define INVERSE(divisor) (~(Bits)0 / (divisor) + 1)
#define REMAINDER(number, divisor, inverse) (Whole)(((unsigned __int128)((inverse) * (number)) * (divisor)) >> 64)
#define S 1
typedef Word U __attribute__((vector_size(LANES * sizeof(Word))));
#endif
#define EACH_LANE for (int l = 0; l < LANES; l++)

INLINE U mixed(U here, U next, U far) {
  U y = (here & 0x80000000u) | (next & 0x7fffffffu);
  return far ^ (y >> 1) ^ (-(y & 1u) & 0x9908b0dfu);
}

/* Makes the first `count` numbers of the next block of the stream; later ones follow from a whole block only. */
INLINE void advance(U *state, int count) {
  int k = 0;
  for (; k < count && k < NUMBERS - SHIFT; k++)
    state[k * S] = mixed(state[k * S], state[(k + 1) * S], state[(k + SHIFT) * S]);
  for (; k < count && k < NUMBERS - 1; k++)
    state[k * S] = mixed(state[k * S], state[(k + 1) * S], state[(k + SHIFT - NUMBERS) * S]);
  if (k < count) state[k * S] = mixed(state[k * S], state[0], state[(k + SHIFT - NUMBERS) * S]);
}

INLINE U tempered(U y) {
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

/* Draws the orders of `count` runs, at most LANES, from their seeds: (count, rows). state: room for NUMBERS words. */
INLINE void draw(const Whole *seeds, int count, Whole rows, Whole *orders, U *state) {
  U last;
  EACH_LANE LANE(last) = (Word)seeds[l < count ? l : 0];
  state[0] = last;
  for (int k = 1; k < NUMBERS; k++) state[k * S] = last = 1812433253u * (last ^ (last >> 30)) + (Word)k;
  for (int l = 0; l < count; l++)
    for (Whole row = 0; row < rows; row++) orders[l * rows + row] = row;
  int at = NUMBERS;
  for (Whole row = 0; row < rows - 1; row++) {
    Word left = (Word)(rows - row);
    Bits inverse = INVERSE(left);
    if (at == NUMBERS) {
      advance(state, rows - 1 - row < NUMBERS ? (int)(rows - 1 - row) : NUMBERS);
      at = 0;
    }
    U drawn = tempered(state[at++ * S]);
    for (int l = 0; l < count; l++) {
      Whole *order = orders + l * rows + row, other = REMAINDER(LANE(drawn), left, inverse), kept = order[0];
      order[0] = order[other];
      order[other] = kept;
    }
  }
}

/* seeds: (runs,); orders: (runs, rows). rows is below 2^32 / 20, as beyond it torch draws otherwise. */
#ifdef __CUDACC__
/* states: (NUMBERS, threads). */
extern "C" __global__ void orders(const Whole *seeds, int runs, int rows, Whole *orders, Word *states) {
  Whole thread = (Whole)blockIdx.x * 32 + threadIdx.x;
  for (Whole run = thread; run < runs; run += S) draw(seeds + run, 1, rows, orders + run * rows, states + thread);
}
#else
void orders(const Whole *seeds, Whole runs, Whole rows, Whole *orders) {
  U state[NUMBERS];
  for (Whole first = 0; first < runs; first += LANES) {
    int count = runs - first < LANES ? (int)(runs - first) : LANES;
    draw(seeds + first, count, rows, orders + first * rows, state);
  }
}
#endif
