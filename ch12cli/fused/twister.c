/* What torch draws from its generator of a CPU, for many seeds: sixteen generators side by side on a CPU, which hides
   how long each step of a generator takes; the orders of rows also with a generator in each thread of a GPU.

   torch.Generator().manual_seed(seed) is a Mersenne Twister (MT19937) seeded with the low 32 bits. */

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

/* The generators' states just after they were seeded. */
INLINE void seed(U *state, const Whole *seeds, int count) {
  U last;
  EACH_LANE LANE(last) = (Word)seeds[l < count ? l : 0];
  state[0] = last;
  for (int k = 1; k < NUMBERS; k++) state[k * S] = last = 1812433253u * (last ^ (last >> 30)) + (Word)k;
}

/* Draws the orders of `count` runs, at most LANES, from their seeds: (count, rows). state: room for NUMBERS words.
   torch.randperm swaps each place in turn with one of those after it, chosen by the remainder of one number. */
INLINE void draw(const Whole *seeds, int count, Whole rows, Whole *orders, U *state) {
  seed(state, seeds, count);
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
/* For each block of LANES runs: its first one, and how many there are. */
#define BLOCKS(runs)                                                                                               \
  for (Whole first = 0, count; count = (runs) - first < LANES ? (runs) - first : LANES, count > 0; first += LANES)

void orders(const Whole *seeds, Whole runs, Whole rows, Whole *orders) {
  U state[NUMBERS];
  BLOCKS(runs) draw(seeds + first, (int)count, rows, orders + first * rows, state);
}

/* Generators that stand at the same place of their blocks. */
typedef struct {
  U state[NUMBERS];
  int at;
} Generators;
INLINE U next(Generators *g) {
  if (g->at == NUMBERS) {
    advance(g->state, NUMBERS);
    g->at = 0;
  }
  return tempered(g->state[g->at++]);
}
INLINE void skip(Generators *g, Whole numbers) {
  for (; numbers > NUMBERS - g->at; g->at = 0) {
    numbers -= NUMBERS - g->at;
    advance(g->state, NUMBERS);
  }
  g->at += (int)numbers;
}

/* Draws what a network of linear layers draws in its making, and the seeds of the orders of its epochs, after `skipped`
   numbers: for each of `parts` tensors Tensor.uniform_(-bound, bound), and for each epoch two numbers of 64 bits, of
   which the second is a seed. weights: (runs, values); order_seeds: (runs, epochs). */
void beginnings(const Whole *seeds, Whole runs, Whole skipped, Whole parts, const Whole *sizes, const float *bounds,
                Whole values, float *weights, Whole epochs, Whole *order_seeds) {
  Generators g;
  BLOCKS(runs) {
    seed(g.state, seeds + first, (int)count);
    g.at = NUMBERS;
    skip(&g, skipped);
    float *weight = weights + first * values;
    for (Whole part = 0; part < parts; part++)
      for (Whole k = 0; k < sizes[part]; k++, weight++) {
        U drawn = next(&g);
        double range = bounds[part] - -bounds[part]; /* in single precision, as torch */
        for (int l = 0; l < count; l++)
          weight[l * values] = (float)((drawn[l] & 0xffffff) * 0x1p-24 * range - bounds[part]);
      }
    for (Whole epoch = 0; epoch < epochs; epoch++) {
      next(&g), next(&g);
      U high = next(&g), low = next(&g);
      for (int l = 0; l < count; l++)
        order_seeds[(first + l) * epochs + epoch] = (Whole)(((Bits)high[l] << 32 | low[l]) & 0x7fffffffffffffff);
    }
  }
}

/* The generators' words after so many numbers: (runs, NUMBERS), rows at a distance of `distance` words of 64 bits. */
void states(const Whole *seeds, Whole runs, Whole numbers, Bits *words, Whole distance) {
  Generators g;
  BLOCKS(runs) {
    seed(g.state, seeds + first, (int)count);
    g.at = NUMBERS;
    skip(&g, numbers);
    for (int l = 0; l < count; l++)
      for (int k = 0; k < NUMBERS; k++) words[(first + l) * distance + k] = g.state[k][l];
  }
}
#endif
