package poll

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// Consumption says what of the bus is delivered, to whom.
type Consumption struct {
	Stream schemas.Stream
	// Durable is the name under which the bus remembers what is done. All
	// receivers consume under the same, and share the messages.
	Durable  string
	Subjects []string
	// Since is where a durable begins that is new.
	Since time.Time
	// MaxPending is how many messages are fetched at once. With MaxPutOff it is
	// how many may be delivered and not done.
	MaxPending int
	MaxPutOff  int
	// AckWait is after how long without a word a message is delivered again.
	AckWait time.Duration
}

// Message was delivered by the bus, and must be answered for.
type Message struct {
	Seq        uint64
	Header     map[string][]string
	Data       []byte
	Deliveries int // how often it was delivered, this one included
	Reply
}

// A Reply answers for a message. Its methods may be called from any goroutine.
type Reply interface {
	// Done says that the message must not be delivered again. It is safe to
	// repeat.
	Done(ctx context.Context) error
	// Later has it delivered again after a delay.
	Later(delay time.Duration) error
	// Working says that it is still worked at.
	Working() error
}

// Consume delivers messages, each until it is done, and remembers what is over
// restarts. It goes on over lost connections, and ends when ctx does. fn is
// called by one goroutine, and may answer for a message after it returned.
type Consume func(ctx context.Context, c Consumption, fn func(Message)) error

// FollowUps ask platforms what events mean that are on the bus, for all sources
// with a [handlers.FollowUp]. What is asked for and not answered yet is kept by
// the bus. That of a source that isn't followed up any more is left alone, and
// goes on when it is again. Make them with [NewFollowUps]. Their methods are
// safe for concurrent use.
type FollowUps struct {
	cfg     Config
	consume Consume
	born    time.Time

	mu      sync.Mutex
	ctx     context.Context // of Run, nil before
	updated bool            // somebody said what to follow up
	running sync.WaitGroup
	sources map[string]*following
}

// NewFollowUps returns follow-ups of no source. Where a source was never
// followed up before they begin with what is told from now on: make them before
// anything is told.
func NewFollowUps(cfg Config, consume Consume) *FollowUps {
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	if cfg.Log == nil {
		cfg.Log = discard()
	}
	return &FollowUps{cfg: cfg, consume: consume, born: time.Now(), sources: map[string]*following{}}
}

// Run follows up what sources tell, or those that Update named before, and those
// that it names later, until ctx ends, and returns when nobody asks any more. It
// is called once.
func (fs *FollowUps) Run(ctx context.Context, sources []handlers.Source) error {
	fs.mu.Lock()
	if !fs.updated {
		fs.update(sources)
	}
	fs.ctx = ctx
	for _, f := range fs.sources {
		fs.start(f)
	}
	fs.mu.Unlock()
	<-ctx.Done()
	// Nobody starts one any more: start looks whether ctx has ended.
	fs.mu.Lock()
	fs.mu.Unlock() //nolint:staticcheck // it waits for an Update that is under way
	fs.running.Wait()
	return nil
}

// Update makes the followed sources those of sources. What is being asked goes
// on with what it was begun with. That a platform wanted not to be asked holds
// no more if the source's follow-up is another.
func (fs *FollowUps) Update(sources []handlers.Source) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.update(sources)
}

// update is Update. mu is held.
func (fs *FollowUps) update(sources []handlers.Source) {
	fs.updated = true
	since := fs.born
	if fs.ctx != nil {
		since = time.Now()
	}
	wanted := map[string]bool{}
	for _, src := range sources {
		if src.FollowUp == nil {
			continue
		}
		wanted[src.Name] = true
		old := fs.sources[src.Name]
		if old != nil && old.platform == src.Platform && slices.Equal(old.types, src.FollowUp.Types) {
			old.spec.Store(src.FollowUp)
			old.shared.open(src.FollowUp)
			continue
		}
		if old != nil {
			old.stop()
		}
		f := newFollowing(&fs.cfg, src, since)
		fs.sources[src.Name] = f
		fs.start(f)
	}
	for name, f := range fs.sources {
		if !wanted[name] {
			delete(fs.sources, name)
			f.stop()
			fs.cfg.Metrics.follow.forget(name)
		}
	}
}

// start starts to follow up a source. mu is held.
func (fs *FollowUps) start(f *following) {
	fs.cfg.Metrics.follow.begin(f.source, f.waiting)
	if fs.ctx == nil || fs.ctx.Err() != nil {
		return
	}
	ctx, stop := context.WithCancel(fs.ctx)
	f.stop = stop
	fs.running.Go(func() {
		defer stop()
		f.run(ctx, fs.consume)
	})
}
