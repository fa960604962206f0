{{- define "squall.name" -}}
{{ .Values.name | default .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "squall.labels" -}}
app.kubernetes.io/name: {{ include "squall.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "squall.secret" -}}
{{ .Values.squall.existingSecret | default (printf "%s-squall" (include "squall.name" .)) }}
{{- end }}

{{- define "squall.container" -}}
- name: squall
  image: {{ .Values.squall.image | quote }}
  imagePullPolicy: IfNotPresent
  args: [run, -c, /etc/squall/squall.yaml]
  ports:
    - {name: squall-admin, containerPort: 9900}
  env:
    - name: SQUALL_TOKEN
      valueFrom:
        secretKeyRef: {name: {{ include "squall.secret" . }}, key: token}
  livenessProbe:
    httpGet: {path: /healthz, port: squall-admin}
  readinessProbe:
    httpGet: {path: /readyz, port: squall-admin}
    periodSeconds: 5
  {{- if eq .Values.squall.sidecar "native" }}
  restartPolicy: Always
  startupProbe:
    httpGet: {path: /readyz, port: squall-admin}
    periodSeconds: 1
    failureThreshold: 30
  {{- end }}
  resources: {{- toYaml .Values.squall.resources | nindent 4 }}
  securityContext:
    runAsUser: 65532
    runAsGroup: 65532
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL]}
  volumeMounts:
    - {name: squall, mountPath: /etc/squall, readOnly: true}
{{- end }}
