/* The operations of a program, each on the rows of a batch: forward, the loss, and backward. */

/* A step of a block of runs. total: the sum of the rows' losses. */
typedef struct {
  const Epochs *e;
  V *base;
  const Lanes *lanes;
  Whole step;
  int rows, training;
  V scale, total;
} Pass;

#define PLACE(place) (pass->base + (Whole)(place) * S)
#define PARAMETER(number) PLACE(PARAMETERS_AT + (number))
#define GRADIENT(number) PLACE(GRADIENT_AT + (number))
#define E_OF_PASS const Epochs *e = pass->e; (void)e

INLINE void op_linear(Pass *pass, const Operation *o) {
  E_OF_PASS;
  linear(pass->rows, o->units, o->outputs, PLACE(o->at), PARAMETER(o->weight), o->bias < 0 ? 0 : PARAMETER(o->bias),
         PLACE(o->to));
}
INLINE void op_linear_grad(Pass *pass, const Operation *o) {
  E_OF_PASS;
  linear_grad(pass->rows, o->units, o->outputs, PLACE(o->gradient), PLACE(o->at), GRADIENT(o->weight),
              o->bias < 0 ? 0 : GRADIENT(o->bias));
}
INLINE void op_linear_input_grad(Pass *pass, const Operation *o) {
  E_OF_PASS;
  linear_input_grad(pass->rows, o->units, o->outputs, PLACE(o->gradient), PARAMETER(o->weight), PLACE(o->to));
}

/* Dropout, with the hash of `training/layers.py` (SplitMix64). The masks lie where other operations have parameters. */
INLINE void op_dropout(Pass *pass, const Operation *o) {
  V *x = PLACE(o->at), *y = PLACE(o->to), *masks = PLACE(o->weight);
  Bits mixed = (Bits)((pass->e->masks_before + pass->step + 1) * 1000003 + o->layer) * 0x5851f42d4c957f2dULL;
  for (int k = 0; k < pass->rows * o->units; k++) {
    V mask = pass->training ? dropout_mask(pass->e->seeds, pass->lanes->run, mixed, k, o->a) : ONE;
    masks[k * S] = mask;
    y[k * S] = x[k * S] * mask;
  }
}
INLINE void op_dropout_grad(Pass *pass, const Operation *o) {
  V *g = PLACE(o->gradient), *masks = PLACE(o->weight);
  for (int k = 0; k < pass->rows * o->units; k++) g[k * S] *= masks[k * S];
}

/* value: of x, with the constants a and b; gradient: that of x, from g, that of y. */
#define ELEMENTWISE(name, value, gradient_of_x)                                                                    \
  INLINE void op_##name(Pass *pass, const Operation *o) {                                                          \
    V *xs = PLACE(o->at), *ys = PLACE(o->to);                                                                      \
    REAL a = (REAL)o->a, b = (REAL)o->b;                                                                           \
    (void)a, (void)b;                                                                                              \
    for (int k = 0; k < pass->rows * o->units; k++) {                                                              \
      V x = xs[k * S];                                                                                             \
      ys[k * S] = value;                                                                                           \
    }                                                                                                              \
  }                                                                                                                \
  INLINE void op_##name##_grad(Pass *pass, const Operation *o) {                                                   \
    V *xs = PLACE(o->at), *ys = PLACE(o->to), *gradient = PLACE(o->gradient);                                      \
    REAL a = (REAL)o->a, b = (REAL)o->b;                                                                           \
    (void)a, (void)b;                                                                                              \
    for (int k = 0; k < pass->rows * o->units; k++) {                                                              \
      V x = xs[k * S], y = ys[k * S], g = gradient[k * S];                                                         \
      (void)x, (void)y;                                                                                            \
      gradient[k * S] = gradient_of_x;                                                                             \
    }                                                                                                              \
  }
ELEMENTWISE(elu, elu(x, a, b), elu_grad(g, x, a, b))
ELEMENTWISE(gelu, gelu(x), gelu_grad(g, x))
ELEMENTWISE(gelu_tanh, gelu_tanh(x), gelu_tanh_grad(g, x))
ELEMENTWISE(leaky_relu, leaky_relu(x, a), leaky_relu_grad(g, x, a))
ELEMENTWISE(mish, mish(x), mish_grad(g, x))
ELEMENTWISE(relu, relu(x), relu_grad(g, y))
ELEMENTWISE(sigmoid, sigmoid(x), sigmoid_grad(g, y))
ELEMENTWISE(silu, silu(x), silu_grad(g, x))
ELEMENTWISE(softplus, softplus(x, a, b), softplus_grad(g, x, a, b))
ELEMENTWISE(tanh, vtanh(x), tanh_grad(g, y))

#define ROWWISE(name)                                                                                              \
  INLINE void op_##name(Pass *pass, const Operation *o) {                                                          \
    for (int row = 0; row < pass->rows; row++)                                                                     \
      name(PLACE(o->at + row * o->units), PLACE(o->to + row * o->units), o->units);                                \
  }                                                                                                                \
  INLINE void op_##name##_grad(Pass *pass, const Operation *o) {                                                   \
    for (int row = 0; row < pass->rows; row++)                                                                     \
      name##_grad(PLACE(o->gradient + row * o->units), PLACE(o->to + row * o->units), o->units);                   \
  }
ROWWISE(softmax)
ROWWISE(log_softmax)

#define LOSS(name, ...)                                                                                            \
  INLINE void op_##name(Pass *pass, const Operation *o) {                                                          \
    V total = ZERO;                                                                                                \
    for (int row = 0; row < pass->rows; row++)                                                                     \
      total += name(PLACE(o->at + row * o->units), PLACE(o->to + row * o->outputs),                                \
                    PLACE(o->gradient + row * o->units), o->units, pass->scale, ##__VA_ARGS__);                    \
    pass->total = total;                                                                                           \
  }
LOSS(bce)
LOSS(bce_logits)
LOSS(cross_entropy)
LOSS(huber, (REAL)o->a)
LOSS(l1)
LOSS(mse)
LOSS(nll)
