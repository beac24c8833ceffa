package io.github.botfarm.junit;

import java.lang.reflect.Constructor;
import java.lang.reflect.Executable;
import java.lang.reflect.Parameter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.extension.AfterTestExecutionCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ExtensionContext.Namespace;
import org.junit.jupiter.api.extension.ExtensionContext.Store;
import org.junit.jupiter.api.extension.ExtensionContext.Store.CloseableResource;
import org.junit.jupiter.api.extension.ParameterContext;
import org.junit.jupiter.api.extension.ParameterResolutionException;
import org.junit.jupiter.api.extension.ParameterResolver;

/** What gives the parameters with {@link Leased} their accounts. That annotation brings it along. */
public final class BotfarmExtension implements ParameterResolver, AfterTestExecutionCallback {
    private static final Namespace NAMESPACE = Namespace.create(BotfarmExtension.class);

    @Override
    public boolean supportsParameter(ParameterContext parameter, ExtensionContext context) {
        return parameter.isAnnotated(Leased.class) && parameter.getParameter().getType() == Account.class;
    }

    @Override
    public Account resolveParameter(ParameterContext parameter, ExtensionContext context) {
        Executable asking = parameter.getDeclaringExecutable();
        if (asking instanceof Constructor) {
            throw new ParameterResolutionException(
                    "botfarm: an account is for a test or its class: ask for it in a method, not in the constructor");
        }
        Holdings holdings = own(context);
        Wish wish = wishes(asking).get(index(asking, parameter.getParameter()));
        synchronized (holdings) {
            if (!holdings.accounts.containsKey(wish)) {
                holdings.take(missing(holdings, asking, context), context);
            }
            return holdings.accounts.get(wish);
        }
    }

    /** A test whose accounts were taken away meanwhile has failed, whatever it has seen; so has one of its class's. */
    @Override
    public void afterTestExecution(ExtensionContext test) throws InterruptedException {
        Optional<ExtensionContext> place = Optional.of(test);
        while (place.isPresent()) {
            Holdings holdings = place.get().getStore(NAMESPACE).get(Holdings.class, Holdings.class);
            // Looks into the parents, too, until there are none.
            if (holdings == null) {
                return;
            }
            holdings.after(test);
            place = holdings.context.getParent();
        }
    }

    /** Those of this very context, not of its parents. */
    private static Holdings own(ExtensionContext context) {
        Store store = context.getStore(NAMESPACE);
        Holdings found = store.getOrComputeIfAbsent(Holdings.class, key -> new Holdings(context), Holdings.class);
        if (found.context != context && !found.context.getUniqueId().equals(context.getUniqueId())) {
            found = new Holdings(context);
            store.put(Holdings.class, found);
        }
        return found;
    }

    /** What the method asks for, and the test besides it, so that all of it comes at once. */
    private static List<Wish> missing(Holdings holdings, Executable asking, ExtensionContext context) {
        List<Wish> all = new ArrayList<>(wishes(asking));
        context.getTestMethod().ifPresent(test -> all.addAll(wishes(test)));
        return all.stream().distinct().filter(wish -> !holdings.accounts.containsKey(wish)).toList();
    }

    private static List<Wish> wishes(Executable method) {
        List<Wish> wishes = new ArrayList<>();
        for (Parameter parameter : method.getParameters()) {
            Leased leased = parameter.getAnnotation(Leased.class);
            if (leased != null) {
                Selector selector = Selector.of(leased, System.getenv());
                int number = (int) wishes.stream().filter(wish -> wish.selector().equals(selector)).count();
                wishes.add(new Wish(selector, number));
            }
        }
        return wishes;
    }

    private static int index(Executable method, Parameter wanted) {
        int index = 0;
        for (Parameter parameter : method.getParameters()) {
            if (parameter.equals(wanted)) {
                return index;
            }
            index += parameter.isAnnotationPresent(Leased.class) ? 1 : 0;
        }
        throw new IllegalArgumentException(wanted + " is no parameter of " + method);
    }

    /** An account that a method asks for; a method may ask for several of one kind. */
    private record Wish(Selector selector, int number) {}

    /** What a test or a class holds. JUnit closes it when that is over, and fails it when that fails. */
    private static final class Holdings implements CloseableResource {
        private final ExtensionContext context;
        private final Settings settings;
        private final List<Lease> leases = new ArrayList<>();
        private final Map<Wish, Account> accounts = new LinkedHashMap<>();

        Holdings(ExtensionContext context) {
            this.context = context;
            this.settings = Settings.of(context);
        }

        void take(List<Wish> wishes, ExtensionContext context) {
            String name = context.getTestClass().map(Class::getSimpleName).orElse("")
                    + context.getTestMethod().map(method -> "." + method.getName()).orElse("");
            String repetition = context.getTestMethod().map(method -> context.getDisplayName()).orElse("");
            String shown = repetition.startsWith(name) || repetition.isEmpty() ? name : name + " " + repetition;
            Request request = new Request(
                    wishes.stream().map(Wish::selector).toList(), settings.patience(), settings.ttl(),
                    Job.holder(shown, System.getenv()), System.err::println);
            Lease lease;
            try {
                lease = request.acquire(transport(context, settings));
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
                throw new BotfarmException("", "interrupted while waiting for an account");
            }
            leases.add(lease);
            for (int index = 0; index < wishes.size(); index++) {
                Account account = lease.accounts().get(index);
                accounts.put(wishes.get(index), account);
                context.publishReportEntry(Map.of("account", account.toString(), "held by", lease.holder()));
            }
        }

        void after(ExtensionContext test) throws InterruptedException {
            boolean failed = test.getExecutionException().isPresent();
            for (Lease lease : leases) {
                if (failed) {
                    lease.leaveAfterFailure(settings.onFailure());
                } else if (context.getTestMethod().isEmpty()) {
                    // Those of a test are released in a moment, which tells, too.
                    lease.check();
                }
            }
        }

        @Override
        public void close() throws InterruptedException {
            BotfarmException first = null;
            for (Lease lease : leases) {
                // Also when the test has failed before it was run, in what prepares it.
                if (context.getExecutionException().isPresent()) {
                    lease.leaveAfterFailure(settings.onFailure());
                }
                try {
                    lease.release();
                } catch (BotfarmException error) {
                    first = first == null ? error : first;
                }
            }
            // Each test of a class has found out by itself whether its accounts were lost until then.
            if (first != null && !(first.isLoss() && context.getTestMethod().isEmpty())) {
                throw first;
            }
        }

        /** The farm of the whole run: what the environment names, or a service for the run alone. */
        private static Transport transport(ExtensionContext context, Settings settings) {
            Store root = context.getRoot().getStore(NAMESPACE);
            return root.getOrComputeIfAbsent(
                    Transport.class,
                    key -> {
                        if (settings.bots().isEmpty() || Transport.isNamed()) {
                            return Transport.fromEnvironment();
                        }
                        Service service = new Service(settings.bots().get());
                        root.put(Service.class, service);
                        return new Transport(service.url(), null, null);
                    },
                    Transport.class);
        }
    }
}
