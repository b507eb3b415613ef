//! Nothing but a place for `tests/decision`, which explores the engine's decision.
