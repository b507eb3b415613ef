//! A flash-sale engine.
