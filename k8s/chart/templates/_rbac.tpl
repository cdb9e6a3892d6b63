{{/*
The rights that Beacon needs, as `beacon rbac` computes them: a YAML map from each namespace ("" for all of them) to its
rules. files/plurals.json has the plurals of the built-in kinds; `resource` of an entry has that of any other kind.
*/}}
{{- define "beacon.rules" -}}
{{- $builtin := .Files.Get "files/plurals.json" | fromJson -}}
{{- $plurals := dict -}}
{{- $everywhere := dict -}}
{{- $entries := list -}}
{{- range $place, $one := .Values.config.resources -}}
  {{- $parts := splitList "/" (toString $one.apiVersion) -}}
  {{- $group := join "/" (initial $parts) -}}
  {{- $kind := toString $one.kind -}}
  {{- $key := printf "%s %s" $group $kind -}}
  {{- $namespaces := list -}}
  {{- range (kindIs "slice" $one.namespaces | ternary $one.namespaces list) -}}
    {{- if toString . }}{{ $namespaces = append $namespaces (toString .) }}{{ end -}}
  {{- end -}}
  {{- if $one.resource }}{{ $_ := set $plurals $key (toString $one.resource) }}{{ end -}}
  {{- if not $namespaces }}{{ $_ := set $everywhere $key true }}{{ end -}}
  {{- $entries = append $entries (dict "place" $place "group" $group "kind" $kind "key" $key "namespaces" $namespaces "version" $one.apiVersion) -}}
{{- end -}}
{{- /* Namespace -> API group -> plurals. */ -}}
{{- $rights := dict -}}
{{- range $entry := $entries -}}
  {{- $known := dig $entry.group $entry.kind dict $builtin -}}
  {{- $plural := get $plurals $entry.key | default $known.plural -}}
  {{- if not $plural -}}
    {{- fail (printf "config.resources[%d]: the plural of %s of %s is not known to the chart: set `resource` to it, or set rbac.create=false and apply the output of `beacon rbac`" (int $entry.place) $entry.kind $entry.version) -}}
  {{- end -}}
  {{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $plural) -}}
    {{- fail (printf "config.resources[%d].resource: %q is not the plural of a kind; `beacon rbac` prints the roles for a valid configuration" (int $entry.place) $plural) -}}
  {{- end -}}
  {{- if and $entry.namespaces (eq $plural (toString $known.plural)) (not $known.namespaced) -}}
    {{- fail (printf "config.resources[%d]: %s is cluster-wide: remove `namespaces`" (int $entry.place) $entry.kind) -}}
  {{- end -}}
  {{- range $namespace := (hasKey $everywhere $entry.key | ternary (list "") $entry.namespaces) -}}
    {{- $groups := get $rights $namespace | default dict -}}
    {{- $_ := set $groups $entry.group (append (get $groups $entry.group | default list) $plural | uniq | sortAlpha) -}}
    {{- $_ := set $rights $namespace $groups -}}
  {{- end -}}
{{- end -}}
{{- $home := hasKey $rights "" | ternary "" "kube-system" -}}
{{- if and .Values.rbac.identity (not (hasKey $rights $home)) }}{{ $_ := set $rights $home dict }}{{ end -}}
{{- $result := dict -}}
{{- range $namespace, $groups := $rights -}}
  {{- $rules := list -}}
  {{- if hasKey $groups "" -}}
    {{- $rules = append $rules (dict "apiGroups" (list "") "resources" (get $groups "") "verbs" (list "list" "watch")) -}}
  {{- end -}}
  {{- if and $.Values.rbac.identity (eq $namespace $home) -}}
    {{- $rules = append $rules (dict "apiGroups" (list "") "resources" (list "namespaces") "resourceNames" (list "kube-system") "verbs" (list "get")) -}}
  {{- end -}}
  {{- range $group := keys $groups | sortAlpha -}}
    {{- if $group -}}
      {{- $rules = append $rules (dict "apiGroups" (list $group) "resources" (get $groups $group) "verbs" (list "list" "watch")) -}}
    {{- end -}}
  {{- end -}}
  {{- $_ := set $result $namespace $rules -}}
{{- end -}}
{{ toYaml $result }}
{{- end -}}
