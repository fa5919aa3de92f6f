package deploy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sockloop/sockloop/server"
)

// patience is how long a test waits for something that must happen.
const patience = 20 * time.Second

// The proxies connect from 127.0.0.1, and the clients from elsewhere, so that nobody takes one for the other.
var (
	proxyAddr  = netip.MustParsePrefix("127.0.0.1/32")
	clientAddr = net.IPv4(127, 0, 0, 2)
)

// teller is a service that tells its sessions which process has them and their address, and sends back what they say.
type teller struct{ process int }

func (s teller) tell(to *server.Session, what string) {
	m := server.Text(fmt.Appendf(nil, "%d %s", s.process, what))
	_ = to.Send(&m)
}
func (s teller) OnOpen(to *server.Session)                         { s.tell(to, to.RemoteAddr().String()) }
func (s teller) OnMessage(from *server.Session, m *server.Message) { s.tell(from, string(m.Text())) }
func (s teller) OnClose(*server.Session, server.CloseReason)       {}

// startServers runs two servers, configured as the proxies' files say, and returns their addresses.
func startServers(t *testing.T, c server.Config) (addrs [2]string) {
	t.Helper()
	for i := range addrs {
		c.Addr, c.ConnectionsMax, c.TrustedProxies = "127.0.0.1:0", 200, []netip.Prefix{proxyAddr}
		s, err := server.New(c)
		if err != nil {
			t.Fatal(err)
		}
		for prefix, service := range map[string]server.Service{"/who": teller{i}, "/broadcast": s.Broadcast()} {
			if err := s.Handle(prefix, service); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		<-s.Ready()
		addrs[i] = s.Addr().String()
	}
	return addrs
}

// certificate is one for 127.0.0.1, with its key, in PEM.
var certificate = sync.OnceValues(func() (cert, key []byte) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sockloop"}, IsCA: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		panic(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
})

// look finds a program that a test needs, or skips the test.
func look(t *testing.T, program, debian string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + program); err != nil {
			t.Skipf("%s is not installed (Debian: %s)", program, debian)
		}
	}
	return path
}

// front is a proxy that runs.
type front struct {
	t    *testing.T
	addr string
}

// listen is a socket that a proxy inherits, so that its port is known and free.
func listen(t *testing.T) (addr string, file *os.File) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // the file is a duplicate
	if file, err = ln.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return ln.Addr().String(), file
}

// run runs a proxy until the test ends.
func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		if _ = cmd.Wait(); t.Failed() {
			t.Logf("%s", log.Bytes())
		}
	})
}

func write(t *testing.T, path string, text []byte) string {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startHAProxy starts HAProxy with the file that is shipped; route is one of its SOCKLOOP_ROUTE.
func startHAProxy(t *testing.T, route string, servers [2]string) *front {
	t.Helper()
	haproxy := look(t, "haproxy", "haproxy")
	cert, key := certificate()
	addr, socket := listen(t)
	cmd := exec.Command(haproxy, "-db", "-f", "haproxy/haproxy.cfg")
	cmd.Env = append(os.Environ(), "SOCKLOOP_BIND=fd@3", "SOCKLOOP_ROUTE="+route,
		"SOCKLOOP_CERT="+write(t, filepath.Join(t.TempDir(), "pem"), append(bytes.Clone(cert), key...)),
		"SOCKLOOP_0="+servers[0], "SOCKLOOP_1="+servers[1])
	cmd.ExtraFiles = []*os.File{socket}
	run(t, cmd)
	return &front{t, addr}
}

// startNginx starts nginx with the file that is shipped, in which what its head names is changed.
func startNginx(t *testing.T, route string, servers [2]string) *front {
	t.Helper()
	nginx := look(t, "nginx", "nginx-light")
	dir := t.TempDir()
	cert, key := certificate()
	addr, socket := listen(t)
	_ = socket.Close() // nginx cannot inherit it, and tries for some seconds if somebody else has taken the port since
	shipped, err := os.ReadFile("nginx/sockloop.conf")
	if err != nil {
		t.Fatal(err)
	}
	conf := string(shipped)
	for _, change := range [][2]string{
		{"server 127.0.0.1:8080;", "server " + servers[0] + ";"},
		{"server 127.0.0.1:8081;", "server " + servers[1] + ";"},
		{"listen 443 ssl", "listen " + addr + " ssl"},
		{"/etc/nginx/sockloop.pem", write(t, filepath.Join(dir, "pem"), cert)},
		{"/etc/nginx/sockloop.key", write(t, filepath.Join(dir, "key"), key)},
		{"hash $sockloop_by_server consistent;", "hash $sockloop_by_" + route + " consistent;"},
	} {
		if strings.Count(conf, change[0]) != 1 {
			t.Fatalf("nginx/sockloop.conf has %q not once", change[0])
		}
		conf = strings.Replace(conf, change[0], change[1], 1)
	}
	write(t, filepath.Join(dir, "sockloop.conf"), []byte(conf))
	main := "daemon off; master_process off; pid pid; error_log stderr; events {} http { access_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		main += kind + "_temp_path " + kind + ";\n"
	}
	write(t, filepath.Join(dir, "nginx.conf"), []byte(main+"include sockloop.conf;\n}\n"))
	run(t, exec.Command(nginx, "-p", dir, "-c", "nginx.conf", "-e", "stderr"))
	await(t, addr)
	return &front{t, addr}
}

// await waits until somebody listens.
func await(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// client is a client of its own, with cookies, that comes from clientAddr; version is that of HTTP.
func (f *front) client(version int) *http.Client { return f.clientFrom(clientAddr, version) }

func (f *front) clientFrom(addr net.IP, version int) *http.Client {
	f.t.Helper()
	cert, _ := certificate()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	jar, err := cookiejar.New(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	transport := &http.Transport{
		DialContext:       (&net.Dialer{LocalAddr: &net.TCPAddr{IP: addr}}).DialContext,
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: version == 2,
	}
	f.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Jar: jar, Timeout: patience}
}

// url is that of a session's transport.
func (f *front) url(server, session, transport string) string {
	return "https://" + f.addr + "/who/" + server + "/" + session + "/" + transport
}

// startWith runs the program with a command line that is shipped, waits until it listens, and ends it. Its address is
// replaced.
func startWith(t *testing.T, args, env []string) {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	listens(t, env, bin, args...)
}

// listens runs a program, or what runs it, until it has said that it listens; then SIGTERM ends it.
func listens(t *testing.T, env []string, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(append(os.Environ(), env...), "SOCKLOOP_ADDR=127.0.0.1:0", "SOCKLOOP_ADMIN_ADDR=off",
		"SOCKLOOP_LOG_FORMAT=text")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what runs it passes no signal on
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timeout := time.AfterFunc(patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer timeout.Stop()
	said, listening := "", false
	for lines := bufio.NewScanner(log); lines.Scan(); {
		said += lines.Text() + "\n"
		if strings.Contains(lines.Text(), "msg=listening") {
			listening = true
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		}
	}
	if err := cmd.Wait(); err != nil || !listening {
		t.Errorf("%v: %v\n%s", args, err, said)
	}
}

// variables are those of the program's flags.
func variables(t *testing.T) []string {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	help, err := exec.Command(bin, "serve", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`SOCKLOOP_\w+`).FindAllString(string(help), -1)
}

// dir is where the program is, once it is built.
var dir string

// built is the program.
var built = sync.OnceValues(func() (bin string, err error) {
	if dir, err = os.MkdirTemp("", "sockloop-deploy-"); err != nil {
		return "", err
	}
	bin = filepath.Join(dir, "sockloop")
	if out, err := exec.Command("go", "build", "-o", bin, "../server/cmd/sockloop").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}
