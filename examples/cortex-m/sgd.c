// Gradient descent with momentum as C libraries for microcontrollers write it, without layer-wise adaptation: a
// baseline.
void c_sgd_momentum(float lr, float momentum, unsigned len, float *weights, const float *gradients, float *velocity) {
    for (unsigned i = 0; i < len; i++) {
        velocity[i] = momentum * velocity[i] - lr * gradients[i];
        weights[i] += velocity[i];
    }
}

void c_sgd(float lr, unsigned len, float *weights, const float *gradients) {
    for (unsigned i = 0; i < len; i++) {
        weights[i] -= lr * gradients[i];
    }
}
