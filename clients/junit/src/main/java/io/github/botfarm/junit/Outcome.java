package io.github.botfarm.junit;

import java.util.Locale;

/** How an account is left. */
public enum Outcome {
    /** Free for the next. */
    CLEAN,
    /** To be cleaned first. */
    DIRTY,
    /** Out of service. */
    BROKEN;

    String onTheWire() {
        return name().toLowerCase(Locale.ROOT);
    }
}
