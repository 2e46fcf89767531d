//! A broker in memory for tests of applications.
