//! Every limit of a filter. All are checked when a filter is compiled, so that matching needs no fuel and no timeout.

/// Levels of `all`, `any` and `not` inside each other.
pub const NESTING_MAX: usize = 16;
/// Conditions and operators of one filter, over all its levels.
pub const NODES_MAX: usize = 1_000;
/// Bytes of an attribute name; no event has a longer one.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = pelton_event::limits::ATTRIBUTE_NAME_BYTES_MAX;
/// Bytes of the value in an `exact`, `prefix`, `suffix` or `attributes` condition.
pub const VALUE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of one CESQL expression.
pub const CESQL_BYTES_MAX: usize = 8 * 1024;
/// Operators, parentheses and calls of a CESQL expression inside each other; a chain `a AND b AND c` counts one for each.
pub const CESQL_NESTING_MAX: usize = 128;
/// Bytes of the strings that one evaluation of a CESQL expression may build with `CONCAT`, `CONCAT_WS`, `UPPER` and `LOWER`.
pub const CESQL_STRING_BYTES_MAX: usize = 256 * 1024;
/// Characters, in one CESQL expression, of all parts of `LIKE` patterns that stand between two `%` and have a `_`. Searching for
/// such a part costs its length times the text's; parts without `_` are searched for in linear time and need no limit.
pub const LIKE_SEARCHED_GAPPED_MAX: usize = 256;
