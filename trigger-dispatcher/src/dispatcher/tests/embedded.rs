//! Over the embedded engine, with real requests.
