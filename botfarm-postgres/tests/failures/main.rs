//! What may go wrong, each as a test: contention, lost answers, holders that die or stall, cut and half-open connections,
//! restarts and promotions of the server.
//!
//! `BOTFARM_TEST_ROUNDS=100` plays the races a hundred times as long.
#![cfg(unix)]

mod cancellations;
mod child;
mod claims;
mod clocks;
mod crowds;
mod deadlines;
mod failover;
mod fences;
mod ground;
mod holders;
mod horizon;
mod imports;
mod isolation;
mod keys;
mod listener;
mod logins;
mod outages;
mod parts;
mod patches;
mod pgbouncer;
mod prunes;
mod queue;
mod releases;
mod restarts;
mod retries;
mod schemas;
mod sets;
mod strangers;
mod transactions;
mod twins;
mod undone;
