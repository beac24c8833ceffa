package io.github.botfarm.junit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.fail;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Suites as anybody would write them, each run by a JUnit of its own. */
final class Suites {
    private Suites() {}

    /** Fails when somebody else is in here with the same account. */
    static void alone(String login) throws Exception {
        Path file = Files.createFile(Path.of(System.getenv("SHARED"), login));
        Thread.sleep(20);
        Files.delete(file);
    }

    static class Visits {
        @RepeatedTest(24)
        void visit(@Leased Account account) throws Exception {
            alone(account.login());
        }
    }

    static class Careless {
        @RepeatedTest(24)
        void visit() throws Exception {
            alone("ada");
        }
    }

    static class OfAClass {
        static Account account;

        @BeforeAll
        static void lease(@Leased(labels = "role=admin") Account leased) {
            account = leased;
        }

        @RepeatedTest(4)
        void hasTheSame() {
            assertEquals("ada@shop.example", account.login());
            assertEquals(1, account.fence());
        }
    }

    static class Loses {
        @Test
        void loses(@Leased(labels = "role=admin") Account account) throws Exception {
            Farm.direct().revoke(account.id());
        }
    }

    static class LosesThatOfItsClass {
        static Account account;

        @BeforeAll
        static void lease(@Leased Account leased) {
            account = leased;
        }

        @Test
        void loses() throws Exception {
            Farm.direct().revoke(account.id());
        }
    }

    static class Fails {
        @Test
        void fails(@Leased(labels = "role=admin") Account account) {
            assertEquals("somebody else", account.login(), account::toString);
        }
    }

    static class FailsWithThatOfItsClass {
        @BeforeAll
        static void lease(@Leased(labels = "role=admin") Account leased) {}

        @Test
        void fails() {
            fail("on purpose");
        }
    }

    static class FailsBefore {
        @BeforeEach
        void prepare(@Leased(labels = "role=admin") Account account) {
            fail("on purpose");
        }

        @Test
        void isNotRun() {}
    }

    static class LeavesItDirty {
        @Test
        void leaves(@Leased(labels = "role=admin") Account account) {
            account.leave(Outcome.DIRTY);
        }
    }

    static class Away {
        // One holds while the service goes away, the others ask for theirs meanwhile, or give theirs back.
        @ParameterizedTest
        @ValueSource(ints = {12_000, 500, 200, 100, 0})
        void goesOn(int millis, @Leased Account account) throws Exception {
            Thread.sleep(millis);
        }
    }

    static class Waits {
        @Test
        @Timeout(1)
        void waits(@Leased(labels = "role=admin") Account account) {}
    }

    static class Impossible {
        @Test
        void never(@Leased(labels = "role=emperor") Account account) {}
    }

    static class Together {
        @BeforeEach
        void prepare(@Leased(labels = "role=member") Account first) {
            this.first = first;
        }

        Account first;

        @RepeatedTest(6)
        void together(
                @Leased(labels = "role=admin") Account admin,
                @Leased(labels = "role=member") Account one,
                @Leased(labels = "role=member") Account other) {
            assertEquals("admin", admin.labels().get("role"));
            assertNotEquals(one.login(), other.login());
            assertSame(first, one);
        }
    }

    static class Constructed {
        Constructed(@Leased Account account) {}

        @Test
        void isNotRun() {}
    }

    static class NeedsNone {
        @Test
        void passes() {}
    }
}
