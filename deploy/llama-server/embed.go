// Package llamaserver holds the script that installs llama-server without root.
package llamaserver

import _ "embed"

// Install is a shell script that leaves a llama-server in bin of the folder that LLAMA_DIR says, that
// on PATH if it is recent enough or one unpacked from Debian's packages; GPU=vulkan adds that backend.
//
//go:embed install.sh
var Install string
