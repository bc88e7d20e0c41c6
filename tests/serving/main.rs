//! Services as users meet them: the real binary, real replicas.

mod shim;
