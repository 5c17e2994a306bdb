/* The rest of the kernel, after the network's own `forward_backward`: update, step, epoch. */

#define SETTING(number) per_step(e->settings, number, e->runs, 1, lanes)

/* One update of all parameters by the formula of torch's optimiser of that name, as `training/optimizers.py` has it.
   lr: the step's learning rate (for Adagrad after its decay); first, second: for Adam the two bias corrections. */
INLINE void update(const Epoch *e, V *p, V *g, V *s, Whole step, const Lanes *lanes) {
  V lr = per_step(e->lr, step, e->lr_step, e->lr_run, lanes);
#if CLIP_VALUE
  {
    V limit = SETTING(CLIP_VALUE_AT);
    for (int k = 0; k < PARAMETERS; k++) {
      V v = SELECT(g[k * S] < -limit, -limit, g[k * S]);
      g[k * S] = SELECT(v > limit, limit, v);
    }
  }
#endif
#if CLIP_NORM
  {
    V total = ZERO;
    for (int k = 0; k < PARAMETERS; k++) total += g[k * S] * g[k * S];
    V scale = SETTING(CLIP_NORM_AT) / (vsqrt(total) + (REAL)1e-6);
    scale = SELECT(scale > ONE, ONE, scale);
    for (int k = 0; k < PARAMETERS; k++) g[k * S] *= scale;
  }
#endif
#if WEIGHT_DECAY && OPTIMIZER != ADAMW /* it joins the gradient */
  V decay = SETTING(WEIGHT_DECAY_AT);
#define DECAYED(k) (g[(k) * S] + p[(k) * S] * decay)
#else
#define DECAYED(k) g[(k) * S]
#endif
#if OPTIMIZER == SGD
#if MOMENTUM
  V momentum = SETTING(MOMENTUM_AT), undamped = SETTING(UNDAMPED_AT);
  if (e->steps_before + step == 0) momentum = ZERO, undamped = ONE; /* as torch: the first gradient is not dampened */
#endif
  for (int k = 0; k < PARAMETERS; k++) {
    V d = DECAYED(k);
#if MOMENTUM
    V buffer = s[k * S] * momentum + d * undamped;
    s[k * S] = buffer;
#if NESTEROV
    d += buffer * SETTING(MOMENTUM_AT);
#else
    d = buffer;
#endif
#endif
    p[k * S] -= lr * d;
  }
#elif OPTIMIZER == ADAM || OPTIMIZER == ADAMW
  V beta2 = SETTING(BETA2_AT), mean_weight = SETTING(MEAN_WEIGHT_AT), square_weight = SETTING(SQUARE_WEIGHT_AT);
  V eps = SETTING(EPS_AT), size, root;
  EACH_LANE {
    Whole run = lanes->run[l];
    double correction = e->first[step * e->first_step + run * e->first_run];
    LANE(size) = (REAL)(e->lr[step * e->lr_step + run * e->lr_run] / correction);
    LANE(root) = (REAL)(1 / e->second[step * e->second_step + run * e->second_run]);
  }
#if WEIGHT_DECAY && OPTIMIZER == ADAMW
  V shrink;
  EACH_LANE {
    Whole run = lanes->run[l];
    LANE(shrink) = (REAL)(1 - e->lr[step * e->lr_step + run * e->lr_run] * e->settings[WEIGHT_DECAY_AT * e->runs + run]);
  }
#endif
  for (int k = 0; k < PARAMETERS; k++) {
    V d = DECAYED(k), value = p[k * S];
#if WEIGHT_DECAY && OPTIMIZER == ADAMW
    value *= shrink;
#endif
    V mean = s[k * S] + (d - s[k * S]) * mean_weight;
    V square = s[(PARAMETERS + k) * S] * beta2 + d * d * square_weight;
    s[k * S] = mean;
    s[(PARAMETERS + k) * S] = square;
#if AMSGRAD
    V top = s[(2 * PARAMETERS + k) * S];
    square = SELECT(square < top, top, square);
    s[(2 * PARAMETERS + k) * S] = square;
#endif
    p[k * S] = value - size * mean / (vsqrt(square) * root + eps);
  }
#elif OPTIMIZER == RMSPROP
  V alpha = SETTING(ALPHA_AT), weight = SETTING(WEIGHT_AT), eps = SETTING(EPS_AT);
#if MOMENTUM
  V momentum = SETTING(MOMENTUM_AT);
#endif
  for (int k = 0; k < PARAMETERS; k++) {
    V d = DECAYED(k);
    V square = s[k * S] * alpha + d * d * weight;
    s[k * S] = square;
#if CENTERED
    V mean = s[(PARAMETERS + k) * S] + (d - s[(PARAMETERS + k) * S]) * weight;
    s[(PARAMETERS + k) * S] = mean;
    square -= mean * mean;
#endif
    d /= vsqrt(square) + eps;
#if MOMENTUM
    d += s[((1 + CENTERED) * PARAMETERS + k) * S] * momentum;
    s[((1 + CENTERED) * PARAMETERS + k) * S] = d;
#endif
    p[k * S] -= lr * d;
  }
#elif OPTIMIZER == ADAGRAD
  V eps = SETTING(EPS_AT);
  for (int k = 0; k < PARAMETERS; k++) {
    V d = DECAYED(k);
    V total = s[k * S] + d * d;
    s[k * S] = total;
    p[k * S] -= lr * d / (vsqrt(total) + eps);
  }
#endif
}

INLINE void step_of(const Epoch *e, V *base, Whole step, int rows, const Lanes *lanes) {
  V *x = base + X_AT * S, *y = base + Y_AT * S;
  for (int row = 0; row < rows; row++)
    EACH_LANE {
      Whole from = e->order[lanes->run[l] * e->rows + step * BATCH + row];
      for (int k = 0; k < FEATURES; k++) LANE(x[(row * FEATURES + k) * S]) = e->x[from * FEATURES + k];
      for (int k = 0; k < TARGETS; k++) LANE(y[(row * TARGETS + k) * S]) = e->y[from * TARGETS + k];
    }
  V scale = splat((REAL)1 / (rows * OUTPUTS_IN_MEAN));
  V loss = forward_backward(e, base, rows, scale, step, lanes);
  store(e->losses + step * e->runs, loss * scale, lanes);
  for (int k = 0; k < rows * OUTPUTS; k++)
    store(e->predictions + (step * BATCH * OUTPUTS + k) * e->runs, base[(PREDICTION_AT + k) * S], lanes);
  update(e, base + PARAMETERS_AT * S, base + GRADIENT_AT * S, base + STATE_AT * S, step, lanes);
}

#ifdef __CUDACC__
#define OUTLINE __device__ __noinline__
#else
#define OUTLINE static __attribute__((noinline))
#endif
OUTLINE void full_step(const Epoch *e, V *base, Whole step, const Lanes *lanes) { step_of(e, base, step, BATCH, lanes); }
#if LAST_BATCH
OUTLINE void last_step(const Epoch *e, V *base, Whole step, const Lanes *lanes) { step_of(e, base, step, LAST_BATCH, lanes); }
#endif

INLINE void epoch_of(const Epoch *e, V *base, const Lanes *lanes) {
  V *p = base + PARAMETERS_AT * S, *s = base + STATE_AT * S;
  for (int k = 0; k < PARAMETERS; k++) {
    p[k * S] = load(e->parameters + k * e->runs, lanes);
    for (int n = 0; n < STATES; n++) s[(n * PARAMETERS + k) * S] = load(e->states[n] + k * e->runs, lanes);
  }
  Whole step = 0;
  for (; (step + 1) * BATCH <= e->rows; step++) full_step(e, base, step, lanes);
#if LAST_BATCH
  last_step(e, base, step, lanes);
#endif
  for (int k = 0; k < PARAMETERS; k++) {
    store(e->parameters + k * e->runs, p[k * S], lanes);
    for (int n = 0; n < STATES; n++) store(e->states[n] + k * e->runs, s[(n * PARAMETERS + k) * S], lanes);
  }
}

#ifdef __CUDACC__
extern "C" __global__ void epoch(const Epoch *e) { /* a run is a thread; a block is one warp */
  extern __shared__ V memory[];
  Whole run = (Whole)blockIdx.x * 32 + threadIdx.x;
  Lanes lanes;
  lanes.run[0] = run < e->runs ? run : e->runs - 1;
  lanes.count = run < e->runs;
  epoch_of(e, memory + threadIdx.x, &lanes);
}
#else
/* memory: VALUES vectors, aligned like one. */
void epoch(const Epoch *e, V *memory) {
  for (Whole first = 0; first < e->runs; first += LANES) {
    Lanes lanes;
    lanes.count = e->runs - first < LANES ? (int)(e->runs - first) : LANES;
    for (int l = 0; l < LANES; l++) lanes.run[l] = first + (l < lanes.count ? l : lanes.count - 1);
    epoch_of(e, memory, &lanes);
  }
}
int lanes(void) { return LANES; }
#endif
