//! Tests of the files that [`model`] compiles a second time. They are not inside those files, which would bring them along.

mod model;
mod writer;
