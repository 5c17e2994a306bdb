/* The rest of the kernel, below `forward_backward`: update, step, epoch. */

#define SETTING(number) per_step(e->settings, number, e->runs, 1, lanes)
#define PER_STEP(name) per_step(e->name, step, e->name##_step, e->name##_run, lanes)

/* Numbers of an optimiser's state that fade away, as those of a unit that is never active, would end below the normal
   numbers, with which processors are several times as slow. They become 0 before, where that changes no parameter by
   more than rounding: so small a mean moves none, and the root of so small a square is nothing beside eps, unless eps
   is as good as 0. */
#define LEAST_MEAN splat((REAL)(DOUBLE ? 1e-290 : 1e-30))
#define LEAST_SQUARE splat((REAL)(DOUBLE ? 2.2250738585072014e-308 : 1.17549435e-38))
INLINE V faded(V v, V least) { return SELECT((v < least) & (v > -least), ZERO, v); }
INLINE V unless_tiny(V eps, V least) { return SELECT(eps < splat((REAL)1e-10), ZERO, least); }

/* One update of all parameters by the formula of torch's optimiser of that name, as `training/optimizers.py` has it.
   What is computed from the step's number and settings alone is made before (`FusedEpochs.per_step`). */
ONCE void update(const Epochs *e, V *p, V *g, V *s, Whole step, const Lanes *lanes) {
  const int count = PARAMETERS, momentum_kept = MOMENTUM, nesterov = NESTEROV, amsgrad = AMSGRAD, centered = CENTERED;
  const int joins = WEIGHT_DECAY && OPTIMIZER != ADAMW; /* whether weight decay joins the gradient */
  V lr = PER_STEP(lr);
  if (CLIP_VALUE) {
    V limit = SETTING(CLIP_VALUE_AT);
    for (int k = 0; k < count; k++) {
      V v = SELECT(g[k * S] < -limit, -limit, g[k * S]);
      g[k * S] = SELECT(v > limit, limit, v);
    }
  }
  if (CLIP_NORM) {
    V total = ZERO;
    for (int k = 0; k < count; k++) total += g[k * S] * g[k * S];
    V scale = SETTING(CLIP_NORM_AT) / (vsqrt(total) + (REAL)1e-6);
    scale = SELECT(scale > ONE, ONE, scale);
    for (int k = 0; k < count; k++) g[k * S] *= scale;
  }
  if (joins) {
    V decay = SETTING(WEIGHT_DECAY_AT);
    for (int k = 0; k < count; k++) g[k * S] += p[k * S] * decay;
  }
  if (OPTIMIZER == SGD) {
    V momentum = ZERO, undamped = ONE, ahead = ZERO;
    if (momentum_kept) {
      ahead = SETTING(MOMENTUM_AT);
      if (e->steps_before + step > 0) /* as torch: the first gradient is not dampened */
        momentum = ahead, undamped = SETTING(UNDAMPED_AT);
    }
    for (int k = 0; k < count; k++) {
      V d = g[k * S];
      if (momentum_kept) {
        V buffer = faded(s[k * S] * momentum + d * undamped, LEAST_MEAN);
        s[k * S] = buffer;
        d = nesterov ? d + buffer * ahead : buffer;
      }
      p[k * S] -= lr * d;
    }
  } else if (OPTIMIZER == ADAM || OPTIMIZER == ADAMW) {
    V beta2 = SETTING(BETA2_AT), mean_weight = SETTING(MEAN_WEIGHT_AT), square_weight = SETTING(SQUARE_WEIGHT_AT);
    V eps = SETTING(EPS_AT), root = PER_STEP(root), shrink = WEIGHT_DECAY && OPTIMIZER == ADAMW ? PER_STEP(shrink) : ONE;
    V least = unless_tiny(eps, LEAST_MEAN), least_square = unless_tiny(eps, LEAST_SQUARE);
    V *squares = s + (Whole)count * S, *tops = s + (Whole)2 * count * S;
    for (int k = 0; k < count; k++) {
      V d = g[k * S];
      V mean = faded(s[k * S] + (d - s[k * S]) * mean_weight, least);
      V square = faded(squares[k * S] * beta2 + d * d * square_weight, least_square);
      s[k * S] = mean;
      squares[k * S] = square;
      if (amsgrad) {
        V top = tops[k * S];
        square = SELECT(square < top, top, square);
        tops[k * S] = square;
      }
      p[k * S] = p[k * S] * shrink - lr * mean / (vsqrt(square) * root + eps);
    }
  } else if (OPTIMIZER == RMSPROP) {
    V alpha = SETTING(ALPHA_AT), weight = SETTING(WEIGHT_AT), eps = SETTING(EPS_AT), momentum = ZERO;
    V least = unless_tiny(eps, LEAST_MEAN), least_square = unless_tiny(eps, LEAST_SQUARE);
    if (momentum_kept) momentum = SETTING(MOMENTUM_AT);
    V *means = s + (Whole)count * S, *buffers = s + (Whole)(1 + centered) * count * S;
    for (int k = 0; k < count; k++) {
      V d = g[k * S];
      V square = faded(s[k * S] * alpha + d * d * weight, least_square);
      s[k * S] = square;
      if (centered) {
        V mean = faded(means[k * S] + (d - means[k * S]) * weight, least);
        means[k * S] = mean;
        square -= mean * mean;
      }
      d /= vsqrt(square) + eps;
      if (momentum_kept) {
        d = faded(d + buffers[k * S] * momentum, least);
        buffers[k * S] = d;
      }
      p[k * S] -= lr * d;
    }
  } else if (OPTIMIZER == ADAGRAD) {
    V eps = SETTING(EPS_AT);
    for (int k = 0; k < count; k++) {
      V d = g[k * S];
      V total = s[k * S] + d * d;
      s[k * S] = total;
      p[k * S] -= lr * d / (vsqrt(total) + eps);
    }
  }
}

#if !defined(__CUDACC__) && defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector) /* of GCC from version 12 on, and of Clang */
/* Copies four columns of four lanes: rows that are read at once change places with columns. Needs four lanes. */
INLINE void copy_four(const REAL *table, int columns, const Whole *from, V *to, int lane) {
  typedef REAL Four __attribute__((vector_size(4 * sizeof(REAL)), may_alias));
  Four row[4];
  UNROLL for (int l = 0; l < 4; l++) __builtin_memcpy(row + l, table + from[lane + l] * columns, sizeof *row);
  Four low = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5), high = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
  Four low2 = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5), high2 = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
  Four column[4] = {
    __builtin_shufflevector(low, low2, 0, 1, 4, 5),
    __builtin_shufflevector(low, low2, 2, 3, 6, 7),
    __builtin_shufflevector(high, high2, 0, 1, 4, 5),
    __builtin_shufflevector(high, high2, 2, 3, 6, 7),
  };
  UNROLL for (int k = 0; k < 4; k++) *(Four *)((REAL *)(to + k) + lane) = column[k];
}
#define COPIES_FOUR (LANES % 4 == 0)
#endif
#endif
#ifndef COPIES_FOUR
#define COPIES_FOUR 0
#define copy_four(table, columns, from, to, lane)
#endif

/* Copies a row of a table for each lane: its own. */
INLINE void copy_row(const REAL *table, int columns, const Whole *from, V *to) {
  int k = 0;
  for (; COPIES_FOUR && k + 4 <= columns; k += 4)
    for (int l = 0; l < LANES; l += 4) copy_four(table + k, columns, from, to + k, l);
  for (; k < columns; k++) {
    V v;
    EACH_LANE LANE(v) = table[from[l] * columns + k];
    to[k * S] = v;
  }
}
/* How many rows are right: those whose largest output, a NaN before all numbers, or whose side of a bound is the
   target's. The rules are those of `training/metrics.py`. */
INLINE V right_rows(const Epochs *e, const V *base, int rows) {
  const int outputs = OUTPUTS, targets = TARGETS, rule = COUNTS;
  V count = ZERO, bound = rule == HALF ? splat((REAL)0.5) : ZERO;
  for (int row = 0; row < rows; row++) {
    const V *z = base + (PREDICTION_AT + row * outputs) * S;
    V target = base[(Y_AT + row * targets) * S], top = z[0], found = ZERO;
    if (rule == LARGEST) {
      for (int k = 1; k < outputs; k++) {
        V value = z[k * S];
        M better = (value > top) | ((value != value) & (top == top));
        found = SELECT(better, splat(k), found);
        top = SELECT(better, value, top);
      }
    } else {
      found = SELECT(top >= bound, ONE, ZERO);
      target = SELECT(target >= splat((REAL)0.5), ONE, ZERO);
    }
    count += SELECT(found == target, ONE, ZERO);
  }
  return count;
}

/* to: (rows, OUTPUTS, epochs, runs). */
INLINE void store_predictions(const Epochs *e, const V *base, REAL *to, Whole epoch, Whole step, int rows, const Lanes *lanes) {
  to += step * BATCH * OUTPUTS * e->epochs * e->runs + epoch * e->runs;
  for (int k = 0; k < rows * OUTPUTS; k++) store(to + k * e->epochs * e->runs, base[(PREDICTION_AT + k) * S], lanes);
}

/* step: of the epoch. right: counts the rows that were right. */
ONCE void step_of(const Epochs *e, V *base, Whole epoch, Whole step, int rows, V *right, const Lanes *lanes) {
  for (int row = 0; row < rows; row++) {
    Whole from[LANES];
    EACH_LANE from[l] = e->order[(epoch * e->runs + lanes->run[l]) * e->rows + step * BATCH + row];
    copy_row(e->x, FEATURES, from, base + (X_AT + row * FEATURES) * S);
    copy_row(e->y, TARGETS, from, base + (Y_AT + row * TARGETS) * S);
  }
  Whole before = epoch * ((e->rows + BATCH - 1) / BATCH);
  Pass pass = {e, base, lanes, before + step, rows, 1, splat((REAL)1 / (rows * OUTPUTS_IN_MEAN)), ZERO};
  forward_backward(&pass);
  store(e->losses + (step * e->epochs + epoch) * e->runs, pass.total * pass.scale, lanes);
  if (COUNTS) *right += right_rows(e, base, rows);
  else store_predictions(e, base, e->predictions, epoch, step, rows, lanes);
  update(e, base + PARAMETERS_AT * S, base + GRADIENT_AT * S, base + STATE_AT * S, before + step, lanes);
}

#ifdef __CUDACC__
#define OUTLINE __device__ __noinline__
#else
#define OUTLINE static __attribute__((noinline))
#endif
OUTLINE void full_step(const Epochs *e, V *base, Whole epoch, Whole step, V *right, const Lanes *lanes) {
  step_of(e, base, epoch, step, BATCH, right, lanes);
}
OUTLINE void last_step(const Epochs *e, V *base, Whole epoch, Whole step, V *right, const Lanes *lanes) {
  step_of(e, base, epoch, step, LAST_BATCH, right, lanes);
}

/* Copies rows of the validation part from `first` on: the same for all runs, or those of each run's fold. */
INLINE void copy_valid(const Epochs *e, const REAL *table, int columns, V *to, Whole first, int rows, const Lanes *lanes) {
  for (int row = 0; row < rows; row++) {
    if (e->valid_starts) {
      Whole from[LANES];
      EACH_LANE from[l] = e->valid_starts[lanes->run[l]] + first + row;
      copy_row(table, columns, from, to + row * columns * S);
    } else
      for (int k = 0; k < columns; k++) to[(row * columns + k) * S] = splat(table[(first + row) * columns + k]);
  }
}

/* The predictions of the validation part, without dropout, or what COUNTS needs of them. */
OUTLINE void evaluate(const Epochs *e, V *base, Whole epoch, const Lanes *lanes) {
  V right = ZERO;
  double losses[LANES] = {0};
  for (Whole step = 0; step * BATCH < e->valid_rows; step++) {
    Whole left = e->valid_rows - step * BATCH;
    int rows = left < BATCH ? (int)left : BATCH;
    copy_valid(e, e->valid_x, FEATURES, base + X_AT * S, step * BATCH, rows, lanes);
    Pass pass = {e, base, lanes, step, rows, 0, ONE, ZERO};
    if (!COUNTS) {
      forward(&pass);
      store_predictions(e, base, e->valid_predictions, epoch, step, rows, lanes);
      continue;
    }
    copy_valid(e, e->valid_y, TARGETS, base + Y_AT * S, step * BATCH, rows, lanes);
    forward_loss(&pass);
    EACH_LANE losses[l] += LANE(pass.total);
    right += right_rows(e, base, rows);
  }
  if (COUNTS && e->valid_rows) {
    store(e->valid_right + epoch * e->runs, right, lanes);
    EACH_LANE if (l < lanes->count) e->valid_losses[epoch * e->runs + lanes->run[l]] = losses[l];
  }
}

INLINE void epochs_of(const Epochs *e, V *base, const Lanes *lanes) {
  const int count = PARAMETERS;
  const Whole all = (e->rows + BATCH - 1) / BATCH;
  V *p = base + PARAMETERS_AT * S, *s = base + STATE_AT * S;
  for (int k = 0; k < count; k++) {
    p[k * S] = load(e->parameters + k * e->runs, lanes);
    for (int n = 0; n < STATES; n++) s[(n * count + k) * S] = load(e->states[n] + k * e->runs, lanes);
  }
  for (Whole epoch = 0; epoch < e->epochs; epoch++) {
    Whole step = e->begin;
    V right = COUNTS && step ? load(e->right + epoch * e->runs, lanes) : ZERO;
    for (; step < e->end && (step + 1) * BATCH <= e->rows; step++) full_step(e, base, epoch, step, &right, lanes);
    if (LAST_BATCH && e->end == all) last_step(e, base, epoch, step, &right, lanes);
    if (COUNTS) store(e->right + epoch * e->runs, right, lanes);
    if (e->end < all) continue; /* a later call ends the epoch */
    V nothing = ZERO; /* NaN if a parameter is not finite */
    for (int k = 0; k < count; k++) {
      store(e->snapshots + (epoch * count + k) * e->runs, p[k * S], lanes);
      nothing += p[k * S] * ZERO;
    }
    store(e->finite + epoch * e->runs, SELECT(nothing == ZERO, ONE, ZERO), lanes);
    evaluate(e, base, epoch, lanes);
  }
  for (int k = 0; k < count; k++) {
    store(e->parameters + k * e->runs, p[k * S], lanes);
    for (int n = 0; n < STATES; n++) store(e->states[n] + k * e->runs, s[(n * count + k) * S], lanes);
  }
}

#ifdef __CUDACC__
extern "C" __global__ void epochs(const Epochs *e) { /* a run is a thread; a block is one warp */
  extern __shared__ V memory[];
  Whole run = (Whole)blockIdx.x * 32 + threadIdx.x;
  Lanes lanes;
  lanes.run[0] = run < e->runs ? run : e->runs - 1;
  lanes.count = run < e->runs;
  epochs_of(e, memory + threadIdx.x, &lanes);
}
#else
/* memory: as many vectors as the program keeps values, aligned like one. */
void epochs(const Epochs *e, V *memory) {
  for (Whole first = 0; first < e->runs; first += LANES) {
    Lanes lanes;
    lanes.count = e->runs - first < LANES ? (int)(e->runs - first) : LANES;
    for (int l = 0; l < LANES; l++) lanes.run[l] = first + (l < lanes.count ? l : lanes.count - 1);
    epochs_of(e, memory, &lanes);
  }
}
int lanes(void) { return LANES; }
#endif
