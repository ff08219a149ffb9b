"""The structures, numbers and functions of ``layerwise.h``, by the same names and in the same order.

The header says what they mean. ``tests/test_header.py`` compares every size, offset, number and prototype.
"""

import ctypes
from ctypes import c_char, c_char_p, c_double, c_int, c_int32, c_size_t, c_uint8, c_uint32, c_uint64
from ctypes import c_void_p as pointer

LW_ABI_VERSION = 1

LW_APPLIED = 0
LW_OVERFLOWED = 1
LW_NON_FINITE = 2
LW_OUT_OF_RANGE = 3
LW_FROZEN = 4
LW_ABSENT = 5
LW_STEP_SKIPPED = 6

LW_SGD = 1
LW_NOVOGRAD = 2
LW_ADAM = 3

LW_F32 = 0
LW_BF16 = 1
LW_F16 = 2

LW_LEAF = 1024
LW_SUMS = 3
LW_COVER = 128
LW_BOUNDARIES = 32

LW_NO_LOSS_SCALE = 0
LW_STATIC = 1
LW_BACKOFF = 2
LW_LOG_MAX = 3

LW_NO_LAYER = c_size_t(-1).value


class lw_error(ctypes.Structure):
    _fields_ = [
        ("layer", c_size_t),
        ("value", c_double),
        ("status", c_int32),
        ("what", c_char * 32),
        ("text", c_char * 220),
    ]


class lw_larc(ctypes.Structure):
    _fields_ = [
        ("eta", c_double),
        ("eps", c_double),
        ("min_update", c_double),
        ("max_update", c_double),
        ("min_norm", c_double),
        ("mode", c_uint8),
        ("zero_norm", c_uint8),
        ("decay_in_ratio", c_uint8),
        ("only_with_decay", c_uint8),
        ("reserved", c_uint8 * 4),
    ]


class lw_luc(ctypes.Structure):
    _fields_ = [("trust", c_double), ("eps", c_double), ("freezes_zeros", c_uint8), ("reserved", c_uint8 * 7)]


class lw_sgd(ctypes.Structure):
    _fields_ = [
        ("momentum", c_double),
        ("dampening", c_double),
        ("weight_decay", c_double),
        ("dampen_first_step", c_uint8),
        ("nesterov", c_uint8),
        ("rate_in_momentum", c_uint8),
        ("maximize", c_uint8),
        ("starts_at_gradient", c_uint8),
        ("reserved", c_uint8 * 3),
    ]


class lw_novograd(ctypes.Structure):
    _fields_ = [
        ("beta1", c_double),
        ("beta2", c_double),
        ("eps", c_double),
        ("eps_root", c_double),
        ("weight_decay", c_double),
        ("max_rate", c_double),
        ("decay_mode", c_uint8),
        ("v_init", c_uint8),
        ("gradient_averaging", c_uint8),
        ("bias_correction", c_uint8),
        ("norm", c_uint8),
        ("amsgrad", c_uint8),
        ("starts_at_gradient", c_uint8),
        ("raw_momentum", c_uint8),
        ("rate_in_momentum", c_uint8),
        ("maximize", c_uint8),
        ("reserved", c_uint8 * 6),
    ]


class lw_adam(ctypes.Structure):
    _fields_ = [
        ("beta1", c_double),
        ("beta2", c_double),
        ("eps", c_double),
        ("eps_root", c_double),
        ("weight_decay", c_double),
        ("max_rate", c_double),
        ("ratio_eps", c_double),
        ("max_weights", c_double),
        ("max_ratio", c_double),
        ("decay_mode", c_uint8),
        ("bias_correction", c_uint8),
        ("grad_averaging", c_uint8),
        ("maximize", c_uint8),
        ("trust_ratio", c_uint8),
        ("ratio_only_with_decay", c_uint8),
        ("reserved", c_uint8 * 2),
    ]


class _rules(ctypes.Union):
    _fields_ = [("sgd", lw_sgd), ("novograd", lw_novograd), ("adam", lw_adam)]


class lw_optimizer(ctypes.Structure):
    _anonymous_ = ["rules"]
    _fields_ = [
        ("rule", c_uint32),
        ("non_finite", c_uint8),
        ("reserved", c_uint8 * 3),
        ("clip_norm", c_double),
        ("larc", lw_larc),
        ("luc", lw_luc),
        ("rules", _rules),
    ]


class lw_array(ctypes.Structure):
    _fields_ = [("data", pointer), ("type", c_uint32)]


class lw_const_array(ctypes.Structure):
    _fields_ = [("data", pointer), ("type", c_uint32)]


class lw_layer_config(ctypes.Structure):
    _fields_ = [
        ("rate", c_double),
        ("decay", c_double),
        ("adapt", c_uint8),
        ("frozen", c_uint8),
        ("reserved", c_uint8 * 6),
    ]


class lw_state(ctypes.Structure):
    _fields_ = [("numbers", c_double * 4)]


class lw_norms(ctypes.Structure):
    _fields_ = [("weights", c_double), ("gradients", c_double)]


class lw_layer(ctypes.Structure):
    _fields_ = [
        ("len", c_size_t),
        ("weights", lw_array),
        ("gradients", lw_const_array),
        ("momentum", lw_array),
        ("second_moment", lw_array),
        ("lower", pointer),
        ("copy", lw_array),
        ("config", pointer),
        ("norms", pointer),
        ("saturate", c_uint32),
        ("state", lw_state),
    ]


class lw_report(ctypes.Structure):
    _fields_ = [
        ("gradient_norm", c_double),
        ("weight_norm", c_double),
        ("factor", c_double),
        ("effective_rate", c_double),
        ("clipped", c_uint8),
        ("outcome", c_uint8),
        ("reserved", c_uint8 * 6),
    ]


class lw_summary(ctypes.Structure):
    _fields_ = [
        ("applied", c_size_t),
        ("skipped", c_size_t),
        ("overflowed", c_size_t),
        ("gradient_norm", c_double),
        ("clip", c_double),
    ]


class lw_span(ctypes.Structure):
    _fields_ = [("start", c_size_t), ("len", c_size_t), ("config", pointer)]


class lw_flat(ctypes.Structure):
    _fields_ = [
        ("len", c_size_t),
        ("weights", lw_array),
        ("gradients", lw_const_array),
        ("momentum", lw_array),
        ("second_moment", lw_array),
        ("lower", pointer),
        ("copy", lw_array),
        ("spans", pointer),
        ("count", c_size_t),
        ("states", pointer),
        ("norms", pointer),
        ("saturate", c_uint32),
        ("gaps", c_uint32),
    ]


class lw_range(ctypes.Structure):
    _fields_ = [("start", c_size_t), ("end", c_size_t)]


class lw_measured(ctypes.Structure):
    _fields_ = [("own", c_uint64 * 8)]


class lw_decision(ctypes.Structure):
    _fields_ = [
        ("lr", c_double),
        ("gradient_scale", c_double),
        ("clip", c_double),
        ("gradient_norm", c_double),
        ("skip", c_uint8),
        ("reserved", c_uint8 * 7),
    ]


class lw_planned(ctypes.Structure):
    _fields_ = [("own", c_uint64 * 72)]


class lw_schedule(ctypes.Structure):
    _fields_ = [
        ("learning_rate", c_double),
        ("min_lr", c_double),
        ("power", c_double),
        ("decay_rate", c_double),
        ("max_lr", c_double),
        ("coefficient", c_double),
        ("decay_steps", c_uint64),
        ("begin_decay_at", c_uint64),
        ("warmup_steps", c_uint64),
        ("steps_per_epoch", c_uint64),
        ("d_model", c_uint64),
        ("boundaries", c_double * LW_BOUNDARIES),
        ("decay_rates", c_double * LW_BOUNDARIES),
        ("boundary_count", c_uint32),
        ("policy", c_uint8),
        ("use_staircase_decay", c_uint8),
        ("reserved", c_uint8 * 2),
    ]


class lw_loss_scaler(ctypes.Structure):
    _fields_ = [
        ("scale", c_double),
        ("scale_min", c_double),
        ("scale_max", c_double),
        ("step_factor", c_double),
        ("log_max", c_double),
        ("beta1", c_double),
        ("beta2", c_double),
        ("overflow_std_dev", c_double),
        ("step_window", c_uint32),
        ("kind", c_uint8),
        ("as_executed", c_uint8),
        ("reserved", c_uint8 * 2),
    ]


class lw_loss_state(ctypes.Structure):
    _fields_ = [("numbers", c_double * 4)]


class lw_training(ctypes.Structure):
    _fields_ = [
        ("optimizer", lw_optimizer),
        ("schedule", lw_schedule),
        ("loss_scaler", lw_loss_scaler),
        ("iter_size", c_uint64),
        ("steps", c_uint64),
        ("steps_per_epoch", c_uint64),
        ("is_mixed", c_uint8),
        ("reserved", c_uint8 * 7),
    ]


_status = c_int32
_settings = [pointer, c_double, c_double]  # an optimizer, the learning rate, the gradient scale

# The result of each function, and its arguments. Pointers to structures and numbers are plain addresses, because ctypes
# passes those fastest.
FUNCTIONS = {
    "lw_status_text": (c_char_p, [_status]),
    "lw_abi_version": (c_uint32, []),
    "lw_version": (c_char_p, []),
    "lw_preset": (_status, [c_char_p, pointer, pointer]),
    "lw_check": (_status, [pointer, pointer]),
    "lw_moments": (_status, [pointer, pointer]),
    "lw_step_layer": (_status, [*_settings, pointer, pointer, pointer]),
    "lw_step": (_status, [*_settings, pointer, c_size_t, pointer, pointer, pointer]),
    "lw_step_flat": (_status, [*_settings, pointer, pointer, pointer, pointer]),
    "lw_sum_of_squares": (_status, [lw_const_array, c_size_t, pointer, pointer]),
    "lw_l2_norm": (_status, [lw_const_array, c_size_t, pointer, pointer]),
    "lw_max_norm": (_status, [lw_const_array, c_size_t, pointer, pointer]),
    "lw_accumulate": (_status, [lw_array, lw_const_array, c_size_t, c_double, c_int, pointer, pointer]),
    "lw_chunk": (lw_range, [c_size_t, c_size_t, c_size_t]),
    "lw_measure": (_status, [*_settings, pointer, pointer, pointer]),
    "lw_leaf_sums": (_status, [*_settings, pointer, c_size_t, pointer, pointer]),
    "lw_fold": (_status, [*_settings, pointer, c_size_t, pointer, pointer, pointer]),
    "lw_decide": (_status, [*_settings, pointer, c_size_t, pointer, pointer]),
    "lw_apply": (_status, [pointer, pointer, pointer, pointer, pointer, pointer]),
    "lw_plan": (_status, [pointer, pointer, pointer, pointer, pointer, pointer, pointer]),
    "lw_needs_step": (_status, [pointer, pointer]),
    "lw_step_leaf_sums": (_status, [pointer, pointer, c_size_t, pointer, pointer]),
    "lw_limit": (_status, [pointer, pointer, pointer, c_size_t, pointer, pointer]),
    "lw_confirm": (_status, [pointer, pointer, pointer, pointer]),
    "lw_apply_chunk": (_status, [pointer, pointer, pointer]),
    "lw_finish": (_status, [pointer, pointer, pointer, pointer]),
    "lw_array_leaf_sums": (_status, [lw_const_array, c_size_t, c_size_t, pointer, pointer]),
    "lw_fold_leaf_sums": (_status, [pointer, c_size_t, pointer, pointer]),
    "lw_tree_cover": (c_size_t, [c_size_t, lw_range, pointer, c_size_t]),
    "lw_tree_share": (lw_range, [c_size_t, c_size_t, c_size_t]),
    "lw_tree_merges": (c_uint32, [c_size_t, c_size_t]),
    "lw_tree_fold": (_status, [c_size_t, pointer, pointer, c_size_t, pointer, pointer]),
    "lw_subtree_sums": (_status, [*_settings, pointer, c_size_t, c_size_t, pointer, pointer]),
    "lw_fold_subtrees": (_status, [*_settings, pointer, c_size_t, pointer, pointer, c_size_t, pointer, pointer]),
    "lw_step_subtree_sums": (_status, [pointer, pointer, c_size_t, c_size_t, pointer, pointer]),
    "lw_limit_subtrees": (_status, [pointer, pointer, pointer, pointer, c_size_t, pointer, pointer]),
    "lw_array_subtree_sums": (_status, [lw_const_array, c_size_t, c_size_t, c_size_t, pointer, pointer]),
    "lw_add": (_status, [lw_array, lw_const_array, c_size_t, pointer, pointer]),
    "lw_schedule_default": (_status, [c_uint32, c_double, pointer, pointer]),
    "lw_schedule_fill": (_status, [pointer, c_uint64, c_uint64, pointer]),
    "lw_rate": (_status, [pointer, c_uint64, pointer, pointer]),
    "lw_loss_scale": (_status, [pointer, pointer, pointer, pointer]),
    "lw_loss_update": (_status, [pointer, pointer, c_int, c_double, pointer]),
    "lw_recipe": (_status, [c_char_p, c_size_t, c_uint64, pointer, pointer]),
}
