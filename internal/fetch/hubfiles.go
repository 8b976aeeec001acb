package fetch

import (
	"fmt"
	"path"
	"strings"

	"github.com/loragate/loragate/internal/fetch/archive"
	"github.com/loragate/loragate/internal/fetch/failure"
)

// sibling is a file of a repository. Those in LFS have a SHA-256.
type sibling struct {
	Name   string `json:"rfilename"`
	Size   *int64 `json:"size"`
	BlobID string `json:"blobId"`
	LFS    *struct {
		SHA256 string `json:"sha256"`
		Size   int64  `json:"size"`
	} `json:"lfs"`
}

// choose picks the files of the adapter that r names: the file itself or, of
// the whole repository or a folder in it, the only GGUF, else the PEFT adapter.
// Of a PEFT adapter the weights come last.
func choose(r Ref, all []sibling) (files []sibling, peft bool, err error) {
	var ggufs, configs []string
	named := map[string]sibling{}
	folder := ""
	if r.file != "" {
		folder = r.file + "/"
	}
	for _, s := range all {
		named[s.Name] = s
		switch {
		case !strings.HasPrefix(s.Name, folder):
		case archive.ByName(s.Name) == archive.GGUF:
			ggufs = append(ggufs, s.Name)
		case path.Base(s.Name) == archive.PEFTConfig:
			configs = append(configs, s.Name)
		}
	}
	if s, ok := named[r.file]; ok && r.file != "" {
		if archive.ByName(r.file) == archive.Unknown {
			return nil, false, failure.BadSource.New(
				"%s: the file is none of %s; for a PEFT adapter name the folder it is in", r, archive.Formats)
		}
		return []sibling{s}, false, nil
	}
	config, hasConfig := named[folder+archive.PEFTConfig]
	weights, hasWeights := named[folder+archive.PEFTWeights]
	switch {
	case len(ggufs) == 1:
		return []sibling{named[ggufs[0]]}, false, nil
	case hasConfig && hasWeights:
		return []sibling{config, weights}, true, nil
	case r.file != "" && len(ggufs)+len(configs) == 0:
		return nil, false, failure.NotFound.New("%s: the repository has no such file; it has %s", r, candidates(all))
	case hasConfig && len(ggufs) == 0:
		return nil, false, failure.BadSource.New("%s: there is %s but no %s; weights in another format cannot be read",
			r, archive.PEFTConfig, archive.PEFTWeights)
	case len(ggufs)+len(configs) > 0:
		return nil, false, failure.BadSource.New(
			"%s: there is more than one adapter, or none at the top; name one of %s", r, candidates(all))
	}
	return nil, false, failure.BadSource.New("%s: the repository holds no adapter: neither a .gguf file nor %s with %s",
		r, archive.PEFTConfig, archive.PEFTWeights)
}

// candidates lists what could have been named.
func candidates(all []sibling) string {
	const most = 10
	var out []string
	for _, s := range all {
		if path.Base(s.Name) == archive.PEFTConfig {
			out = append(out, path.Dir(s.Name)+"/")
		} else if archive.ByName(s.Name) != archive.Unknown {
			out = append(out, s.Name)
		}
	}
	switch {
	case len(out) == 0:
		return "no adapter at all"
	case len(out) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(out[:most], ", "), len(out)-most)
	}
	return strings.Join(out, ", ")
}
