// SPDX-License-Identifier: Apache-2.0
package interop;

import java.util.concurrent.Callable;
import java.util.function.BooleanSupplier;

/** Collects named results and prints each as one line: PASS name, or FAIL name: reason. */
final class Checks {
    private int failed;

    /** A step of a check; whatever it throws is the reason of the failure. */
    interface Step {
        void run() throws Exception;
    }

    void check(String name, Step step) {
        try {
            step.run();
            System.out.println("PASS " + name);
        } catch (Exception | AssertionError error) {
            ++failed;
            System.out.println("FAIL " + name + ": " + String.valueOf(error).replace('\n', ' '));
        }
        System.out.flush();
    }

    int failed() {
        return failed;
    }

    static void equal(String what, Object wanted, Object got) {
        if (!wanted.equals(got)) {
            throw new AssertionError(what + ": wanted " + wanted + ", got " + got);
        }
    }

    static void isTrue(String what, boolean condition) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    /** Waits until the condition holds; false after the limit. */
    static boolean within(long limitMs, BooleanSupplier condition) throws InterruptedException {
        final long end = System.nanoTime() + limitMs * 1_000_000;
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > end) {
                return false;
            }
            Thread.sleep(20);
        }
        return true;
    }

    /** Repeats a call that fails while the cluster has not caught up yet. */
    static <T> T eventually(long limitMs, Callable<T> call) throws Exception {
        final long end = System.nanoTime() + limitMs * 1_000_000;
        while (true) {
            try {
                return call.call();
            } catch (Exception | AssertionError error) {
                if (System.nanoTime() > end) {
                    throw error;
                }
                Thread.sleep(50);
            }
        }
    }
}
