package statedir

import (
	"os"
	"path/filepath"
)

// disk is what saving and logging ask of the file system. A test puts faults
// and crashes between its steps; everybody else uses realDisk.
type disk struct {
	write  func(f *os.File, b []byte) (int, error)
	sync   func(f *os.File) error // of a file or of a directory
	rename func(from, to string) error
}

var realDisk = disk{(*os.File).Write, (*os.File).Sync, os.Rename}

// replace puts content at path so that whoever reads it finds the old content
// or the new one, never a part: a temporary file of the same directory takes
// its place. temp names it with one *, as in os.CreateTemp. The file is 0600
// whatever the umask.
//
// durable says that the content must have survived a power cut when replace
// returns; without it only a crash of the process is survived, and the disk
// may go on sleeping. With an error the temporary file is gone; what stands at
// path is then the old content, or the new one if all but the syncing of the
// directory was done.
func (d disk) replace(path, temp string, content []byte, durable bool) error {
	return d.replaceWith(path, temp, durable, func(f *os.File) error {
		_, err := d.write(f, content)
		return err
	})
}

// replaceWith is replace for content that fill writes.
func (d disk) replaceWith(path, temp string, durable bool, fill func(*os.File) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, temp)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()           // a second time after the renaming, which is harmless
			_ = os.Remove(f.Name()) // the first error says more
		}
	}()
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	if err := fill(f); err != nil {
		return err
	}
	if durable {
		if err := d.sync(f); err != nil {
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := d.rename(f.Name(), path); err != nil {
		return err
	}
	if !durable {
		return nil
	}
	return d.syncDir(dir)
}

// syncDir makes durable which files a directory holds.
func (d disk) syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // only synced
	return d.sync(f)
}
