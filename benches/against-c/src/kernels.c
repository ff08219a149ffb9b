/* What a C programmer writes by hand for one instruction set: vectors of WIDTH bytes, eight accumulators, products and
   sums fused where the machine can and build.rs allows it, loops aligned by peeling. The order of additions depends on WIDTH. */

#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define JOIN2(a, b) a##_##b
#define JOIN(a, b) JOIN2(a, b)
#define NAME(function) JOIN(function, SUFFIX)
#define N (WIDTH / 4)
#define ACCUMULATORS 8

typedef float vector __attribute__((vector_size(WIDTH), aligned(4), may_alias));

static inline vector load(const float *x) { return *(const vector *)x; }
static inline void store(float *x, vector v) { *(vector *)x = v; }

static inline vector root(vector v) {
#if WIDTH == 64
    return _mm512_sqrt_ps(v);
#elif WIDTH == 32
    return _mm256_sqrt_ps(v);
#else
    return _mm_sqrt_ps(v);
#endif
}

static float fold(vector v) {
    float sum = 0;
    for (int i = 0; i < N; i++) sum += v[i];
    return sum;
}

float NAME(sum_of_squares)(const float *x, size_t n) {
    vector sums[ACCUMULATORS] = {0};
    size_t i = 0;
    for (; i + ACCUMULATORS * N <= n; i += ACCUMULATORS * N)
#pragma GCC unroll 8
        for (int k = 0; k < ACCUMULATORS; k++) {
            vector v = load(x + i + k * N);
            sums[k] += v * v;
        }
    for (int k = 1; k < ACCUMULATORS; k++) sums[0] += sums[k];
    float sum = fold(sums[0]);
    for (; i < n; i++) sum += x[i] * x[i];
    return sum;
}

/* m = momentum m + gradient g, w = w - rate m; returns the sum of squares of w. */
float NAME(update)(float *w, const float *g, float *m, size_t n, float gradient, float momentum, float rate) {
    vector sums[2] = {0};
    float sum = 0;
    size_t i = 0;
    for (; i < n && (uintptr_t)(w + i) % WIDTH; i++) {
        m[i] = momentum * m[i] + gradient * g[i];
        w[i] -= rate * m[i];
        sum += w[i] * w[i];
    }
    for (; i + 2 * N <= n; i += 2 * N)
#pragma GCC unroll 2
        for (int k = 0; k < 2; k++) {
            size_t j = i + k * N;
            vector new_m = momentum * load(m + j) + gradient * load(g + j);
            vector new_w = load(w + j) - rate * new_m;
            store(m + j, new_m);
            store(w + j, new_w);
            sums[k] += new_w * new_w;
        }
    for (; i < n; i++) {
        m[i] = momentum * m[i] + gradient * g[i];
        w[i] -= rate * m[i];
        sum += w[i] * w[i];
    }
    return sum + fold(sums[0] + sums[1]);
}

/* NovoGrad: the norm of the gradient, then the update. */
void NAME(novograd)(float *w, const float *g, float *m, size_t n, float lr, float *v) {
    float s = NAME(sum_of_squares)(g, n);
    *v = *v == 0 ? s : 0.98f * *v + 0.02f * s;
    NAME(update)(w, g, m, n, 1 / (sqrtf(*v) + 1e-8f), 0.95f, lr);
}

/* LARC and momentum: both norms, then the update. */
void NAME(larc)(float *w, const float *g, float *m, size_t n, float lr) {
    float norm = sqrtf(NAME(sum_of_squares)(w, n));
    float local = 0.002f * norm / (sqrtf(NAME(sum_of_squares)(g, n)) + 1e-8f) / lr;
    NAME(update)(w, g, m, n, local < 1 ? local : 1, 0.9f, lr);
}

/* The same, with the sum of squares of the weights carried from step to step. */
void NAME(larc_carried)(float *w, const float *g, float *m, size_t n, float lr, float *weights) {
    float local = 0.002f * sqrtf(*weights) / (sqrtf(NAME(sum_of_squares)(g, n)) + 1e-8f) / lr;
    *weights = NAME(update)(w, g, m, n, local < 1 ? local : 1, 0.9f, lr);
}

static inline void adamw_element(float *w, float g, float *m, float *v, float keep, float rate, float unbias) {
    *m = 0.9f * *m + 0.1f * g;
    *v = 0.999f * *v + 0.001f * g * g;
    *w = keep * *w - rate * *m / (unbias * sqrtf(*v) + 1e-8f);
}

/* AdamW with a decay of 0.01: both moments, then the update. */
void NAME(adamw)(float *w, const float *g, float *m, float *v, size_t n, float lr, int *steps) {
    float keep = 1 - lr * 0.01f, rate = lr / (1 - pow(0.9, ++*steps)), unbias = 1 / sqrt(1 - pow(0.999, *steps));
    size_t i = 0;
    for (; i < n && (uintptr_t)(w + i) % WIDTH; i++) adamw_element(w + i, g[i], m + i, v + i, keep, rate, unbias);
    for (; i + 2 * N <= n; i += 2 * N)
#pragma GCC unroll 2
        for (size_t j = i; j < i + 2 * N; j += N) {
            vector gradient = load(g + j);
            vector new_m = 0.9f * load(m + j) + 0.1f * gradient;
            vector new_v = 0.999f * load(v + j) + 0.001f * gradient * gradient;
            store(m + j, new_m);
            store(v + j, new_v);
            store(w + j, keep * load(w + j) - rate * new_m / (unbias * root(new_v) + 1e-8f));
        }
    for (; i < n; i++) adamw_element(w + i, g[i], m + i, v + i, keep, rate, unbias);
}
