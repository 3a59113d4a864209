package recorder;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.PriorityQueue;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;

/** A clock that is set by hand, and the timers that go by it. It begins in 1970. */
final class Timeline extends Clock {
    private long nowMillis;
    private long created;
    private final PriorityQueue<Task> tasks = new PriorityQueue<>();

    private record Task(long at, long number, Runnable run) implements Comparable<Task> {
        @Override
        public int compareTo(Task other) {
            return at != other.at ? Long.compare(at, other.at) : Long.compare(number, other.number);
        }
    }


    /** Lets time pass; timers run at the instant for which they were set. */
    void advance(long millis) {
        long until = nowMillis + millis;
        while (!tasks.isEmpty() && tasks.peek().at <= until) {
            Task next = tasks.poll();
            nowMillis = next.at;
            next.run.run();
        }
        nowMillis = until;
    }

    /** Of a scheduler only schedule is used, and of its answer only cancel and isDone. */
    ScheduledExecutorService scheduler() {
        return proxy(ScheduledExecutorService.class, (self, method, args) -> {
            if (!method.getName().equals("schedule")) {
                throw new UnsupportedOperationException(method.toString());
            }
            long delay = ((TimeUnit) args[2]).toMillis((Long) args[1]);
            Task task = new Task(nowMillis + delay, created++, (Runnable) args[0]);
            tasks.add(task);
            return future(task);
        });
    }

    private ScheduledFuture<?> future(Task task) {
        return proxy(ScheduledFuture.class, (self, method, args) -> switch (method.getName()) {
            case "cancel" -> tasks.remove(task);
            case "isDone" -> !tasks.contains(task);
            default -> throw new UnsupportedOperationException(method.toString());
        });
    }

    private static <T> T proxy(Class<T> type, InvocationHandler handler) {
        return type.cast(Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, handler));
    }

    @Override
    public Instant instant() {
        return Instant.ofEpochMilli(nowMillis);
    }

    @Override
    public ZoneId getZone() {
        return ZoneOffset.UTC;
    }

    @Override
    public Clock withZone(ZoneId zone) {
        return this;
    }
}
