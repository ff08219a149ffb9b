/* Refers to every function of the library, so that the linker keeps all of them: .ci/targets/c-bare checks that no
 * panic is reachable from any. They do not run. */
#include "layerwise.h"
#include "machine.h"

#ifdef CONTROL
void lw_control(void); /* it can panic */
#endif

typedef void function(void);
static function *const functions[] = {
    (function *)lw_status_text,
    (function *)lw_abi_version,
    (function *)lw_version,
    (function *)lw_preset,
    (function *)lw_check,
    (function *)lw_moments,
    (function *)lw_step_layer,
    (function *)lw_step,
    (function *)lw_step_flat,
    (function *)lw_sum_of_squares,
    (function *)lw_l2_norm,
    (function *)lw_max_norm,
    (function *)lw_accumulate,
    (function *)lw_chunk,
    (function *)lw_measure,
    (function *)lw_leaf_sums,
    (function *)lw_fold,
    (function *)lw_decide,
    (function *)lw_apply,
    (function *)lw_plan,
    (function *)lw_needs_step,
    (function *)lw_step_leaf_sums,
    (function *)lw_limit,
    (function *)lw_confirm,
    (function *)lw_apply_chunk,
    (function *)lw_finish,
    (function *)lw_array_leaf_sums,
    (function *)lw_fold_leaf_sums,
    (function *)lw_tree_cover,
    (function *)lw_tree_share,
    (function *)lw_tree_merges,
    (function *)lw_tree_fold,
    (function *)lw_subtree_sums,
    (function *)lw_fold_subtrees,
    (function *)lw_step_subtree_sums,
    (function *)lw_limit_subtrees,
    (function *)lw_array_subtree_sums,
    (function *)lw_add,
    (function *)lw_schedule_default,
    (function *)lw_schedule_fill,
    (function *)lw_rate,
    (function *)lw_loss_scale,
    (function *)lw_loss_update,
#ifdef CONTROL
    lw_control,
#endif
};

int run(void) {
    /* (Volatile, or the compiler could remove the unused table.) */
    function *const volatile *table = functions;
    for (unsigned i = 0; i < sizeof functions / sizeof *functions; i++) {
        table[i]();
    }
    return 0;
}
