package io.github.botfarm.junit;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** Forwards connections to a service; while it is shut, there is nothing at its address. */
final class Door {
    private final int to;
    private final Set<Socket> open = ConcurrentHashMap.newKeySet();
    private ServerSocket listener;
    private int port;

    Door(int to) throws IOException {
        this.to = to;
        open();
    }

    String url() {
        return "http://127.0.0.1:" + port;
    }

    void open() throws IOException {
        listener = new ServerSocket();
        listener.setReuseAddress(true);
        listener.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
        port = listener.getLocalPort();
        background(this::accept);
    }

    void shut() throws IOException {
        listener.close();
        for (Socket socket : open) {
            socket.close();
        }
        open.clear();
    }

    private void accept() {
        try {
            while (true) {
                Socket client = listener.accept();
                Socket service = new Socket(InetAddress.getLoopbackAddress(), to);
                open.add(client);
                open.add(service);
                background(() -> copy(client, service));
                background(() -> copy(service, client));
            }
        } catch (IOException shut) {
            // The end of it.
        }
    }

    private static void copy(Socket from, Socket to) {
        try (from; to) {
            from.getInputStream().transferTo(to.getOutputStream());
        } catch (IOException cut) {
            // Both are closed.
        }
    }

    private static void background(Runnable work) {
        Thread thread = new Thread(work);
        thread.setDaemon(true);
        thread.start();
    }
}
