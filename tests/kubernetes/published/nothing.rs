//! Nothing is built of this package.
