/* What the tests in C share. */
#ifndef TEST_H
#define TEST_H

#include <layerwise.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures, checks;

static inline void expect_at(int line, int holds, const char *condition) {
    checks++;
    if (holds) return;
    failures++;
    printf("line %d: not so: %s\n", line, condition);
}
/* Goes on after a failure, which the end counts. */
#define EXPECT(condition) expect_at(__LINE__, (condition) != 0, #condition)

static inline int end_of_tests(void) {
    printf("%d checks, %d failed\n", checks, failures);
    return failures > 0 || checks == 0;
}

#endif
