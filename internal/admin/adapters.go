package admin

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/lora"
)

// views turns records into answers, by what the pool knew at one moment.
type views struct {
	files  map[string]FileView
	byName map[string]lora.Record // aliases included
}

func (a *api) views(records []lora.Record) *views {
	v := &views{byName: make(map[string]lora.Record, len(records))}
	if a.opts.Pool != nil {
		v.files = a.opts.Pool.Files()
	}
	for _, rec := range records {
		if rec.Active == nil {
			continue // a part that answers is meant, not a rejected file of its name
		}
		v.byName[rec.Name] = rec
		for _, alias := range rec.Aliases {
			v.byName[alias] = rec
		}
	}
	return v
}

// viewOf is the view of one record.
func (a *api) viewOf(rec lora.Record) adminapi.Adapter {
	var others []lora.Record
	if len(rec.Shares) > 0 {
		others = a.opts.Catalog.List() // for its parts
	}
	return a.views(others).adapter(rec)
}

func (v *views) adapter(rec lora.Record) adminapi.Adapter {
	a := adminapi.Adapter{
		Name: rec.Name, Kind: string(rec.Kind), Origin: string(rec.Origin), Source: display(rec.Source),
		State: string(rec.State), Reason: withoutPaths(rec.Reason, rec),
		Scale: cmp.Or(rec.Scale, 1), Settings: rec.Settings, Pin: rec.Pin, Preload: rec.Preload,
		Parts: make([]adminapi.Part, 0, len(rec.Shares)), Versions: make([]adminapi.Version, 0, len(rec.Versions)),
		Updated: rec.Updated.UTC(),
	}
	a.Aliases, a.Weight = append([]string{}, rec.Aliases...), rec.WeightOrDefault()
	a.Warnings = []string{}
	if v := rec.Latest(); v != nil {
		a.Warnings = append(a.Warnings, v.Warnings...)
	}
	if rec.State == lora.Downloading {
		a.Progress = &adminapi.Progress{Done: rec.Progress.Done, Total: rec.Progress.Total}
	}
	if s := rec.Staged; s != nil {
		a.Staged = &adminapi.Staged{Version: s.Number, Digest: s.Digest}
	}
	if act := rec.Active; act != nil {
		a.Version, a.Digest, a.Bytes, a.Rank, a.Alpha = act.Number, act.Digest, act.Bytes, act.Rank, act.Alpha
	}
	for _, share := range rec.Shares {
		p := adminapi.Part{Adapter: share.Adapter}
		if share.Scale != 0 {
			p.Scale = &share.Scale
		}
		a.Parts = append(a.Parts, p)
	}
	for _, ver := range rec.Versions {
		a.Versions = append(a.Versions, adminapi.Version{
			Version: ver.Number, Digest: ver.Digest, Bytes: ver.Bytes, Rank: ver.Rank,
			Source: display(ver.Source), Created: ver.Created.UTC(),
			Active: rec.Active != nil && rec.Active.Number == ver.Number,
		})
	}
	v.place(&a, rec)
	return a
}

// place says where the files that the record needs are.
func (v *views) place(a *adminapi.Adapter, rec lora.Record) {
	files, complete := v.filesOf(rec)
	for i, file := range files {
		if i == 0 {
			a.LoadedOn, a.AppliedOn = slices.Clone(file.LoadedOn), slices.Clone(file.AppliedOn)
		} else {
			a.LoadedOn, a.AppliedOn = both(a.LoadedOn, file.LoadedOn), both(a.AppliedOn, file.AppliedOn)
		}
		if rec.State == lora.Ready && file.Wanted && len(file.LoadedOn) == 0 {
			a.State = string(lora.Loading)
		}
	}
	if !complete {
		a.LoadedOn, a.AppliedOn = nil, nil
	}
	a.LoadedOn, a.AppliedOn = sorted(a.LoadedOn), sorted(a.AppliedOn)
	if len(rec.Shares) == 0 && len(files) == 1 && !files[0].LastUsed.IsZero() {
		used := files[0].LastUsed.UTC()
		a.LastUsed = &used
	}
}

// filesOf returns what the pool knows of the files that must be loaded for the
// record; it is not complete if a part has none.
func (v *views) filesOf(rec lora.Record) (files []FileView, complete bool) {
	if len(rec.Shares) == 0 {
		if rec.Active == nil {
			return nil, false
		}
		return []FileView{v.files[rec.Active.Path]}, true
	}
	complete = true
	for _, share := range rec.Shares {
		part, ok := v.byName[share.Adapter]
		if !ok {
			complete = false
			continue
		}
		files = append(files, v.files[part.Active.Path])
	}
	return files, complete
}

func both(a, b []int) []int {
	return slices.DeleteFunc(a, func(n int) bool { return !slices.Contains(b, n) })
}

// sorted returns a list that is [] rather than null.
func sorted(ids []int) []int {
	ids = append([]int{}, ids...)
	slices.Sort(ids)
	return ids
}

// display leaves out of a URL what may be a credential: userinfo and query.
func display(source string) string {
	if !strings.HasPrefix(source, "https://") && !strings.HasPrefix(source, "http://") {
		return source
	}
	u, err := url.Parse(source)
	if err != nil {
		return "(a URL)" // what cannot be parsed cannot be redacted
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// withoutPaths takes the places of stored files out of a reason, as llama-server's
// own words may have them.
func withoutPaths(reason string, rec lora.Record) string {
	for _, ver := range append([]*lora.Version{rec.Active, rec.Staged}, rec.Versions...) {
		if ver != nil && ver.Path != "" {
			reason = strings.ReplaceAll(reason, ver.Path, "the adapter's file")
		}
	}
	return reason
}
