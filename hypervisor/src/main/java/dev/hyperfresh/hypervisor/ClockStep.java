package dev.hyperfresh.hypervisor;

/// What an agent in the guest did to the guest's wall clock.
///
/// @param millis how far the clock was put forward; 0 when it was not behind by more than could be
///   told, and so was left alone
/// @param remark what went less than well, or empty
public record ClockStep(double millis, String remark) {}
