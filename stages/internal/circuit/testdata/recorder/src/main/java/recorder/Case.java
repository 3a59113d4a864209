package recorder;

import io.github.resilience4j.circuitbreaker.CircuitBreaker.State;
import io.github.resilience4j.circuitbreaker.CircuitBreakerConfig;
import io.github.resilience4j.circuitbreaker.CircuitBreakerConfig.SlidingWindowType;
import io.github.resilience4j.core.IntervalFunction;
import java.time.Clock;
import java.time.Duration;
import java.util.Random;

/** The settings of one recorded breaker. Times are in milliseconds. */
record Case(
        boolean timed, int window, int minCalls, float failureRate, float slowRate, long slow,
        long openFor, double multiplier, long openMax, int halfOpenCalls, long halfOpenFor, State halfOpenThen,
        boolean automatic) {

    static final class Bad extends Exception {}

    static final class Unrecorded extends Exception {}

    static final class Unimportant extends Exception {}

    static Case draw(Random r) {
        boolean timed = r.nextBoolean();
        return new Case(
                timed, timed ? 1 + r.nextInt(8) : 1 + r.nextInt(20), 1 + r.nextInt(12),
                pick(r, 1, 20, 33.3f, 50, 66.6f, 75, 100), pick(r, 10, 40, 50, 60, 100, 100), 200 + r.nextInt(20) * 100,
                500 * (1 + r.nextInt(12)) + r.nextInt(2), pick(r, 1, 1, 1.5f, 2), 15000, 1 + r.nextInt(10),
                r.nextInt(3) == 0 ? 300L * (1 + r.nextInt(12)) : 0, r.nextBoolean() ? State.OPEN : State.CLOSED,
                r.nextInt(3) == 0);
    }

    private static float pick(Random r, float... from) {
        return from[r.nextInt(from.length)];
    }

    CircuitBreakerConfig config(Clock clock) {
        return CircuitBreakerConfig.custom()
                .clock(clock)
                .slidingWindowType(timed ? SlidingWindowType.TIME_BASED : SlidingWindowType.COUNT_BASED)
                .slidingWindowSize(window)
                .minimumNumberOfCalls(minCalls)
                .failureRateThreshold(failureRate)
                .slowCallRateThreshold(slowRate)
                .slowCallDurationThreshold(Duration.ofMillis(slow))
                .waitIntervalFunctionInOpenState(multiplier == 1
                        ? IntervalFunction.of(openFor)
                        : IntervalFunction.ofExponentialBackoff(openFor, multiplier, openMax))
                .permittedNumberOfCallsInHalfOpenState(halfOpenCalls)
                .maxWaitDurationInHalfOpenState(Duration.ofMillis(halfOpenFor))
                .transitionToStateAfterWaitDuration(halfOpenThen)
                .automaticTransitionFromOpenToHalfOpenEnabled(automatic)
                .recordExceptions(Bad.class)
                .ignoreExceptions(Unimportant.class)
                .build();
    }

    /** Whether timers may run, which Resilience4j's reset() forgets to stop. */
    boolean hasTimers() {
        return automatic || halfOpenFor > 0;
    }

    @Override
    public String toString() {
        return "case window=" + window + (timed ? "s" : "") + " min=" + minCalls + " failure=" + failureRate
                + " slow=" + slowRate + " slow_ms=" + slow + " open_ms=" + openFor + " multiplier=" + multiplier
                + " open_max_ms=" + openMax + " trials=" + halfOpenCalls + " half_open_ms=" + halfOpenFor
                + " then=" + halfOpenThen.getOrder() + " automatic=" + automatic;
    }
}
