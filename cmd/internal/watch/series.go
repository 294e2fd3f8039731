package watch

import "strings"

// A series is one sample of a metric, with its labels as names and values in turns.
type series struct {
	labels []string
	value  float64
}

// family adds a metric with samples that have several labels; nothing if there is no
// sample. Samples appear in the order of the list.
func (e *exposition) family(k kind, name, help string, list []series) {
	if len(list) == 0 {
		return
	}
	e.head(k, name, help)
	for _, s := range list {
		pairs := make([]string, 0, len(s.labels)/2)
		for i := 0; i+1 < len(s.labels); i += 2 {
			pairs = append(pairs, s.labels[i]+`="`+labelText.Replace(s.labels[i+1])+`"`)
		}
		e.text.WriteString(name + "{" + strings.Join(pairs, ",") + "} " + number(s.value) + "\n")
	}
}
