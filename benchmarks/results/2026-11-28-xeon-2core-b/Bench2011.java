import java.net.URI;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import net.tootallnate.websocket.WebSocketClient;
import net.tootallnate.websocket.drafts.Draft_10;

/** A level of the benchmark of 2011 with the ramp of January 2012: Bench2011 CONNECTIONS URL. */
public class Bench2011 {
  static volatile boolean lost = false, running = true;
  static int opened = 0;
  static final Object lock = new Object();
  static final List<Long> rtts = new ArrayList<Long>();

  static class Client extends WebSocketClient {
    final String id;

    Client(URI uri, int id) {
      super(uri, new Draft_10());
      this.id = "" + id;
    }

    public void onOpen() {
      synchronized (lock) {
        opened++;
        lock.notifyAll();
      }
    }

    public void onMessage(String m) {
      long now = System.currentTimeMillis();
      if (m.charAt(0) != 'a') {
        if (m.charAt(0) != 'h' && m.charAt(0) != 'o') System.out.println("got " + m);
        return;
      }
      for (String s : m.substring(3, m.length() - 2).split("\",\"")) {
        int c = s.indexOf(':');
        if (!s.substring(0, c).equals(id)) continue;
        synchronized (lock) {
          rtts.add(now - Long.parseLong(s.substring(c + 1)));
          lock.notifyAll();
        }
      }
    }

    public void onClose() {
      if (running) {
        lost = true;
        System.out.println("Lost a connection");
      }
    }

    public void onError(Exception e) {
      System.out.println("error " + e);
    }

    void chat() throws Exception {
      send("[\"" + id + ":" + System.currentTimeMillis() + "\"]");
    }
  }

  public static void main(String[] args) throws Exception {
    int n = Integer.parseInt(args[0]), ramp = Math.max(1, 10000 / n), steps = 0;
    List<Client> clients = new ArrayList<Client>();
    for (int i = 0; i < n; i++) {
      Client c = new Client(new URI(args[1]), i);
      clients.add(c);
      c.connect();
      if (i % 50 == 49) Thread.sleep(20);
    }
    synchronized (lock) {
      while (opened < n) lock.wait();
    }
    System.out.println(n + " connected");
    String end = null;
    for (int rate = 1; end == null; rate += ramp) {
      synchronized (lock) {
        rtts.clear();
      }
      long begin = System.nanoTime();
      for (int s = 0; s < 3; s++) burst(clients, rate, begin + s * 1000000000L);
      double sent = rate * 3 / ((System.nanoTime() - begin) / 1e9), sum = 0;
      long until = System.currentTimeMillis() + 5000;
      int came;
      synchronized (lock) {
        while (rtts.size() < rate * 3 && System.currentTimeMillis() < until)
          lock.wait(Math.max(1, until - System.currentTimeMillis()));
        came = rtts.size();
        for (long r : rtts) sum += r;
      }
      double mean = came == 0 ? 0 : sum / came;
      System.out.printf("%d connections at %d: rate %.1f, n %d, mean %.1f ms%n", n, rate, sent, came, mean);
      steps++;
      if (lost) end = "a connection was lost";
      else if (came < rate * 3) end = "copies are missing";
      else if (mean >= 1500) end = "mean of 1500 ms";
      else if ((long) rate * n >= 500000) end = "complete: 500000 deliveries a second";
      else Thread.sleep(1000);
    }
    running = false;
    System.out.println("level " + n + ": " + steps + " steps; " + end);
    System.exit(0);
  }

  /** Sends messages for a second, each by the next client, beginning with the first. */
  static void burst(List<Client> clients, int rate, long begin) throws Exception {
    Iterator<Client> next = clients.iterator();
    for (int i = 0; i < rate; i++) {
      if (!next.hasNext()) next = clients.iterator();
      next.next().chat();
      long wait = (begin + (long) ((i + 1) * 1e9 / rate) - System.nanoTime()) / 1000000;
      if (wait > 0) Thread.sleep(wait);
    }
  }
}
