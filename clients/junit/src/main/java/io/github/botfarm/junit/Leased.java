package io.github.botfarm.junit;

import java.lang.annotation.Documented;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.extension.ExtendWith;

/**
 * Leases an account for a parameter of type {@link Account}: of a test or {@code @BeforeEach}, for as long as the test
 * runs; of {@code @BeforeAll}, for as long as its class does.
 *
 * <pre>
 * {@literal @}Test
 * void refunds({@literal @}Leased(env = "stage", labels = "role=admin") Account account) { … }
 * </pre>
 *
 * All accounts of a method come in one lease: all of them, or none. A parameter of {@code @BeforeEach} that asks for the
 * same as one of the test is given the same account.
 */
@Documented
@Target(ElementType.PARAMETER)
@Retention(RetentionPolicy.RUNTIME)
@ExtendWith(BotfarmExtension.class)
public @interface Leased {
    /** The env; empty for any, or for that of the variable BOTFARM_ENV. */
    String env() default "";

    /** The domain; empty for any, or for that of the variable BOTFARM_DOMAIN. */
    String domain() default "";

    /** The project; empty for any, or for that of the variable BOTFARM_PROJECT. */
    String project() default "";

    /** The login of one account. */
    String login() default "";

    /** Labels that the account must have, as {@code key=value}. */
    String[] labels() default {};
}
