// Holds a dashboard against the schema of Grafana: what it has that the schema does not know, what the schema requires
// and it has not, what has the wrong type. (Values of enumerations are not looked at.) Its only argument is the file;
// exit status 1 if it finds something, with a line for each.
//
// Of the kinds of panels only those that our dashboard uses are known here, and of the data sources Prometheus.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dashboard-schema FILE")
		os.Exit(2)
	}
	raw, err := os.ReadFile(os.Args[1])
	if err == nil {
		err = check(raw)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func check(raw []byte) error {
	runtime, known := cog.NewRuntime(), map[string]bool{"row": true}
	for _, each := range []variants.PanelcfgConfig{
		stat.VariantConfig(), statetimeline.VariantConfig(), table.VariantConfig(), timeseries.VariantConfig(),
	} {
		runtime.RegisterPanelcfgVariant(each)
		known[each.Identifier] = true
	}
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
	var whole dashboard.Dashboard
	found := []error{strictly("", &whole, raw)}
	// The dashboard's own decoding is not strict in these two.
	var parts struct {
		Panels []struct {
			Type        string
			Title       string
			FieldConfig json.RawMessage
			Targets     []json.RawMessage
		}
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return err
	}
	for _, panel := range parts.Panels {
		where := fmt.Sprintf("panel %q: ", panel.Title)
		if !known[panel.Type] {
			found = append(found, fmt.Errorf("%sno schema here for %q", where, panel.Type))
		}
		found = append(found, strictly(where, new(dashboard.FieldConfigSource), panel.FieldConfig))
		for _, target := range panel.Targets {
			found = append(found, strictly(where, new(prometheus.Dataquery), target))
		}
	}
	return errors.Join(append(found, whole.Validate())...)
}

func strictly(where string, into interface{ UnmarshalJSONStrict([]byte) error }, raw []byte) error {
	// It gives an error without a text where it found none.
	if err := into.UnmarshalJSONStrict(raw); err != nil && err.Error() != "" {
		return fmt.Errorf("%s%w", where, err)
	}
	return nil
}
