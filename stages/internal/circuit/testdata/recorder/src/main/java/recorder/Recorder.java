package recorder;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;

/** Writes the vectors: what Resilience4j does in random sequences of steps. */
public final class Recorder {
    private static final int CASES = 90;
    private static final int STEPS = 100;

    private Recorder() {}

    public static void main(String[] args) throws IOException {
        StringBuilder out = new StringBuilder("# recorded from resilience4j-circuitbreaker 2.4.0; see recorder/README.md\n");
        for (int seed = 0; seed < CASES; seed++) {
            Random random = new Random(seed);
            new Recording(Case.draw(random), random, out).run(STEPS);
        }
        Files.writeString(Path.of(args[0]), out);
    }
}
