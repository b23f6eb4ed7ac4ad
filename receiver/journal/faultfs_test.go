package journal_test

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// faultFS is a file system whose writes and syncs can be held up or made to
// fail, and whose free space can be told.
type faultFS struct {
	vfs.FS
	mu     sync.Mutex
	create func(name string) error // before a file is made
	write  func(name string) error // before each write
	sync   func(name string) error // before each sync
	free   atomic.Int64            // 0: not told
}

func (f *faultFS) onCreate(fn func(name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.create = fn
}

func (f *faultFS) onWrite(fn func(name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.write = fn
}

func (f *faultFS) onSync(fn func(name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sync = fn
}

func (f *faultFS) before(hook *func(string) error, name string) error {
	f.mu.Lock()
	fn := *hook
	f.mu.Unlock()
	if fn == nil {
		return nil
	}
	return fn(name)
}

func (f *faultFS) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	if free := f.free.Load(); free != 0 {
		return vfs.DiskUsage{AvailBytes: uint64(free), TotalBytes: 1 << 40}, nil
	}
	return f.FS.GetDiskUsage(path)
}

func (f *faultFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.before(&f.create, name); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(name, c)
	return f.wrap(name, file, err)
}

func (f *faultFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(oldname, newname, c)
	return f.wrap(newname, file, err)
}

func (f *faultFS) wrap(name string, file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &faultFile{file, f, name}, nil
}

type faultFile struct {
	vfs.File
	fs   *faultFS
	name string
}

func (f *faultFile) Write(p []byte) (int, error) {
	if err := f.fs.before(&f.fs.write, f.name); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *faultFile) Sync() error {
	if err := f.fs.before(&f.fs.sync, f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultFile) SyncData() error {
	if err := f.fs.before(&f.fs.sync, f.name); err != nil {
		return err
	}
	return f.File.SyncData()
}

func isLog(name string) bool { return strings.HasSuffix(name, ".log") }

// hold makes syncs of the log wait. waiting is closed when the first does;
// release lets them all go.
func (f *faultFS) hold() (waiting <-chan struct{}, release func()) {
	w, r := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.onSync(func(name string) error {
		if isLog(name) {
			once.Do(func() { close(w) })
			<-r
		}
		return nil
	})
	return w, sync.OnceFunc(func() { f.onSync(nil); close(r) })
}
