mod follower;
pub(crate) mod names;
mod simulation;
