//! Adapters to come.
