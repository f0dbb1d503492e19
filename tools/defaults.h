/* defaults.h — where sluiced listens and sluice looks when nothing is said. */
#ifndef SLUICE_DEFAULTS_H
#define SLUICE_DEFAULTS_H

#define ENDPOINT_MAX 256

/* "ipc://$XDG_RUNTIME_DIR/sluice/NAME.sock", or in /run without that variable. Returns `out`. */
char *default_endpoint(const char *name, char out[ENDPOINT_MAX]);

#endif
