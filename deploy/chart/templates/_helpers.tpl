{{/* The labels of every object. */}}
{{- define "mirrorcred.labels" -}}
app.kubernetes.io/name: mirrorcred
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The text of a map, which is a table or TOML already. */}}
{{- define "mirrorcred.map" -}}
{{- if kindIs "string" . -}}
{{- . | trimSuffix "\n" }}
{{ else -}}
{{- merge (dict) (default dict .) (dict "version" 1) | toToml | trimSuffix "\n" }}
{{ end -}}
{{- end }}

{{/* The image, by digest. */}}
{{- define "mirrorcred.image" -}}
{{- if not .repository -}}
{{- fail "image.repository is not set; write the repository of your mirrorcred image, such as contoso.azurecr.io/mirrorcred" -}}
{{- else if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else if .tag -}}
{{ .repository }}:{{ .tag }}
{{- else -}}
{{- fail "image.digest is not set; write the sha256:… of the image, or set image.tag if you accept that a tag can move" -}}
{{- end -}}
{{- end }}

{{/* Fails if a map routes the image's own registry: the nodes could not get a repaired
mirrorcred through a mirror that is broken. */}}
{{- define "mirrorcred.checkImage" -}}
{{- $first := first (splitList "/" .repository) -}}
{{- $host := "docker.io" -}}
{{- if and (contains "/" .repository) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) -}}
{{- $host = lower $first -}}
{{- end -}}
{{- if eq $host "index.docker.io" -}}{{- $host = "docker.io" -}}{{- end -}}
{{- $map := fromToml .text -}}
{{- if hasKey $map "Error" -}}
{{- fail (printf "the map of ring %q is not TOML: %s" .ring $map.Error) -}}
{{- end -}}
{{- $own := false -}}
{{- range $registry, $_ := $map.registry -}}
{{- if eq (first (splitList "/" (lower $registry))) $host -}}{{- $own = true -}}{{- end -}}
{{- end -}}
{{- range $map.mirror -}}
{{- $source := lower (toString .source) -}}
{{- if eq $source "index.docker.io" -}}{{- $source = "docker.io" -}}{{- end -}}
{{- if or (eq $source $host) (and (eq $source "*") (not (contains ":" $host)) (not $own)) -}}
{{- fail (printf "image.repository %q: its registry %s is a source in the map of ring %q (%q), so a broken mirror would keep a node from pulling mirrorcred; push the image to a registry that the map does not mirror, such as the target itself" $.repository $host $.ring $source) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* How long at most the nodes of a ring wait before they restart their kubelets, in
seconds. A node sends 2 requests for a token and 9 for an image; one registry answers
10,000 a minute, of which a sixth stays free: the waits are random. */}}
{{- define "mirrorcred.jitter" -}}
{{- max 30 (ceil (divf (mulf .nodes (add 2 (mul 9 .pulls))) 140)) -}}
{{- end }}

{{/* The flags of "mirrorcred watch" on the nodes of a ring. */}}
{{- define "mirrorcred.watchFlags" -}}
{{- $flags := list -}}
{{- if .values.restartKubelet -}}
{{- if not .ring.nodes -}}
{{- fail (printf "restartKubelet is on, and the ring %q has no nodes; write how many nodes are in it, so that they do not ask the registry all at once" .ring.name) -}}
{{- end -}}
{{- $flags = append $flags "--restart-kubelet" -}}
{{- $flags = append $flags (printf "--restart-jitter=%ss" (include "mirrorcred.jitter" (dict "nodes" .ring.nodes "pulls" .values.pulls))) -}}
{{- end -}}
{{- with .values.watchFlags -}}{{- $flags = append $flags . -}}{{- end -}}
{{- join " " $flags -}}
{{- end }}

{{/* The rings as a YAML list: name, text of the map, terms that select the nodes,
nodes, undo and the settings of a rollout. A node is in the first ring that selects
it. */}}
{{- define "mirrorcred.rings" -}}
{{- $all := list -}}
{{- $earlier := list -}}
{{- $rings := append .Values.rings (dict "name" "default") -}}
{{- $count := len .Values.rings -}}
{{- range $i, $given := $rings -}}
{{- $ring := dict "name" $given.name "undo" (default false $given.undo) -}}
{{- $_ := set $ring "text" (include "mirrorcred.map" (default $.Values.map $given.map)) -}}
{{- $_ := set $ring "nodes" (ternary $.Values.nodes $given.nodes (eq $i $count)) -}}
{{- $_ := set $ring "maxUnavailable" (default $.Values.maxUnavailable $given.maxUnavailable) -}}
{{- $_ := set $ring "minReadySeconds" (hasKey $given "minReadySeconds" | ternary $given.minReadySeconds $.Values.minReadySeconds) -}}
{{- $key := default "mirrorcred.io/ring" $given.label -}}
{{- $values := default (list $given.name) $given.values -}}
{{- $terms := $earlier -}}
{{- if lt $i $count -}}
{{- if eq $given.name "default" -}}
{{- fail "rings: a ring cannot have the name \"default\", which is that of all other nodes; write another name" -}}
{{- end -}}
{{- $terms = append $terms (dict "key" $key "operator" "In" "values" $values) -}}
{{- $earlier = append $earlier (dict "key" $key "operator" "NotIn" "values" $values) -}}
{{- end -}}
{{- $_ := set $ring "terms" $terms -}}
{{- range $all -}}
{{- if eq .name $ring.name -}}
{{- fail (printf "rings: the name %q is there twice; write another one" .name) -}}
{{- end -}}
{{- end -}}
{{- $all = append $all $ring -}}
{{- end -}}
{{- toYaml $all -}}
{{- end }}

{{/* The name of the ConfigMap of a ring: that of its content. */}}
{{- define "mirrorcred.configMap" -}}
{{ .release }}-{{ .ring.name }}-{{ .ring.text | sha256sum | trunc 12 }}
{{- end }}

{{/* What every container may do: nothing that needs a right. It is root, because the
files are root's, without a capability. */}}
{{- define "mirrorcred.securityContext" -}}
runAsUser: 0
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- if .seLinux }}
seLinuxOptions:
  type: spc_t
{{- end }}
{{- end }}
