package recorder;

import io.github.resilience4j.circuitbreaker.CircuitBreaker;
import io.github.resilience4j.circuitbreaker.CircuitBreaker.State;
import io.github.resilience4j.circuitbreaker.IllegalStateTransitionException;
import io.github.resilience4j.circuitbreaker.internal.CircuitBreakerStateMachine;
import io.github.resilience4j.circuitbreaker.internal.SchedulerFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.mockito.Mockito;

/** Drives one breaker through random steps and writes down what it says after each. */
final class Recording {
    private static final State[] STATES = {
        State.CLOSED, State.OPEN, State.HALF_OPEN, State.DISABLED, State.FORCED_OPEN, State.METRICS_ONLY,
    };

    private final Case settings;
    private final Random random;
    private final StringBuilder out;
    private final Timeline time = new Timeline();
    private final CircuitBreaker breaker;
    private final StringBuilder events = new StringBuilder();
    private final List<Call> running = new ArrayList<>();
    private int begun;
    private String before = "";
    /** How likely a call fails, and is slow, for a while. */
    private double failing;
    private double slow;
    /** The last call was not let through: time should pass. */
    private boolean refused;

    /** A call that was let through. Its state has ended when late. */
    private static final class Call {
        final int number;
        final long at;
        boolean late;

        Call(int number, long at) {
            this.number = number;
            this.at = at;
        }
    }

    Recording(Case settings, Random random, StringBuilder out) {
        this.settings = settings;
        this.random = random;
        this.out = out;
        SchedulerFactory factory = Mockito.mock(SchedulerFactory.class);
        Mockito.when(factory.getScheduler()).thenReturn(time.scheduler());
        breaker = new CircuitBreakerStateMachine("recorded", settings.config(time), factory);
        breaker.getEventPublisher()
                .onStateTransition(e -> {
                    events.append(e.getStateTransition().getToState().getOrder());
                    running.forEach(c -> c.late = true);
                })
                .onFailureRateExceeded(e -> events.append('f'))
                .onSlowCallRateExceeded(e -> events.append('s'));
    }

    void run(int steps) {
        out.append(settings).append('\n');
        for (int i = 0; i < steps; i++) {
            if (i % 25 == 0) {
                failing = new double[] {0, 0.2, 0.5, 0.8, 1}[random.nextInt(5)];
                slow = new double[] {0, 0, 0.3, 0.9}[random.nextInt(4)];
            }
            out.append(step());
            say();
        }
    }

    private String step() {
        int dice = random.nextInt(100);
        if (dice < 3) {
            return interfere();
        }
        if (dice < 15) {
            return pass(random.nextInt(4) == 0 ? random.nextInt(9000) : 100 * random.nextInt(20));
        }
        if (dice < 20 || refused && dice < 50) {
            return pass(settings.openFor()); // to the very end of a wait
        }
        if (running.isEmpty() || dice < 58 && running.size() < 12) {
            return begin();
        }
        return end();
    }

    private String pass(long millis) {
        refused = false;
        time.advance(millis);
        return "w" + millis;
    }

    private String begin() {
        refused = !breaker.tryAcquirePermission();
        if (refused) {
            return "a-";
        }
        running.add(new Call(begun++, time.millis()));
        return "a+";
    }

    private String end() {
        Call c = running.get(random.nextInt(running.size()));
        boolean fails = random.nextDouble() < failing;
        if (!c.late && random.nextDouble() < slow) {
            out.append(pass(settings.slow() + 1)); // a timer may end the state meanwhile
            say();
        }
        running.remove(c);
        if (c.late) {
            return "l" + (fails ? "f" : "s") + c.number; // not told to Resilience4j, see README.md
        }
        long took = time.millis() - c.at;
        switch (random.nextInt(12)) {
            case 0:
                breaker.onError(took, TimeUnit.MILLISECONDS, new Case.Unimportant());
                return "i" + c.number;
            case 1:
                breaker.onError(took, TimeUnit.MILLISECONDS, new Case.Unrecorded());
                return "u" + c.number;
            default:
        }
        if (fails) {
            breaker.onError(took, TimeUnit.MILLISECONDS, new Case.Bad());
            return "f" + c.number;
        }
        breaker.onSuccess(took, TimeUnit.MILLISECONDS);
        return "s" + c.number;
    }

    /** A person changes the state; going where it is begins the state anew. */
    private String interfere() {
        if (!settings.hasTimers() && random.nextInt(4) == 0) {
            running.forEach(c -> c.late = true);
            breaker.reset();
            return "r";
        }
        State to = STATES[random.nextInt(STATES.length)];
        try {
            switch (to) {
                case CLOSED -> breaker.transitionToClosedState();
                case OPEN -> breaker.transitionToOpenState();
                case HALF_OPEN -> breaker.transitionToHalfOpenState();
                case DISABLED -> breaker.transitionToDisabledState();
                case FORCED_OPEN -> breaker.transitionToForcedOpenState();
                default -> breaker.transitionToMetricsOnlyState();
            }
        } catch (IllegalStateTransitionException e) {
            return "x" + to.getOrder();
        }
        running.forEach(c -> c.late = true);
        return "m" + to.getOrder();
    }

    /** What the breaker shows, where that is not what it showed after the step before. */
    private void say() {
        CircuitBreaker.Metrics m = breaker.getMetrics();
        String now = breaker.getState().getOrder() + " " + number(m.getFailureRate()) + " " + number(m.getSlowCallRate())
                + " " + m.getNumberOfBufferedCalls() + " " + m.getNumberOfFailedCalls() + " " + m.getNumberOfSlowCalls()
                + " " + m.getNumberOfSlowFailedCalls() + " " + m.getNumberOfNotPermittedCalls();
        if (!events.isEmpty()) {
            out.append(" !").append(events);
            events.setLength(0);
        }
        if (!now.equals(before)) {
            out.append(' ').append(now);
            before = now;
        }
        out.append('\n');
    }

    private static String number(float f) {
        return f == Math.rint(f) ? Integer.toString((int) f) : Float.toString(f);
    }
}
