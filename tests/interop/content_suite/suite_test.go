// containerd's content suite against "contentui serve": a service and a directory for each of its
// tests, over containerd's own client, which retries nothing.
package contentsuite

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/content/proxy"
	"github.com/containerd/containerd/content/testsuite"
	"google.golang.org/grpc"
)

// The interpreter that runs "-m contentui".
const pythonVariable = "CONTENT_SUITE_PYTHON"

func TestContent(t *testing.T) {
	testsuite.ContentSuite(t, "contentui", serve)
}

// serve starts a service on root and connects to it; the function it returns ends both.
func serve(
	ctx context.Context, root string,
) (context.Context, content.Store, func() error, error) {
	socket := filepath.Join(root, "s")
	service, err := start(filepath.Join(root, "store"), socket)
	if err != nil {
		return nil, nil, nil, err
	}
	conn, err := grpc.Dial("unix://"+socket, grpc.WithInsecure())
	if err != nil {
		stop(service)
		return nil, nil, nil, err
	}
	end := func() error {
		failed := conn.Close()
		if err := stop(service); err != nil {
			return err
		}
		return failed
	}
	return ctx, proxy.NewContentStore(contentapi.NewContentClient(conn)), end, nil
}

// start returns when clients can connect.
func start(root, socket string) (*exec.Cmd, error) {
	service := exec.Command(
		os.Getenv(pythonVariable), "-m", "contentui", "--store", root,
		"serve", "--listen", "unix://"+socket, "--grace", "1s", "--json",
	)
	service.Stderr = os.Stderr
	out, err := service.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := service.Start(); err != nil {
		return nil, err
	}
	var said struct{ Ready bool }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &said)
	}
	if err == nil && !said.Ready {
		err = fmt.Errorf("the service is not ready: %s", line)
	}
	if err != nil {
		service.Process.Kill()
		service.Wait()
		return nil, err
	}
	return service, nil
}

// stop ends a service in order; one that doesn't end, or fails, is an error.
func stop(service *exec.Cmd) error {
	if err := service.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	hung := time.AfterFunc(15*time.Second, func() { service.Process.Kill() })
	defer hung.Stop()
	if err := service.Wait(); err != nil {
		return fmt.Errorf("the service did not end in order: %w", err)
	}
	return nil
}
