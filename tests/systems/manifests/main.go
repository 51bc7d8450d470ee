// Reads what landfall ships for containers and clusters with the parsers of those who run it, and
// prints what they made of it as JSON, for the tests to judge.
//
//	manifests compose FILE [NAME=VALUE]...   the project, includes, extensions and variables resolved
//	manifests dockerfile FILE                the stages of an image
//	manifests schemas OUT FILE...            writes strict JSON schemas for `kubernetes`
//	manifests kubernetes DIR SCHEMAS         the objects of a kustomization, each held against its schema
//
// Exits with 1 and a message where anything is refused.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

const usage = "usage: manifests compose FILE [NAME=VALUE]... | dockerfile FILE | " +
	"schemas OUT FILE... | kubernetes DIR SCHEMAS"

func main() {
	result, err := obey(os.Args[1:])
	if err == nil && result != nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func obey(arguments []string) (any, error) {
	command, rest := "", []string(nil)
	if len(arguments) > 0 {
		command, rest = arguments[0], arguments[1:]
	}
	switch {
	case command == "compose" && len(rest) >= 1:
		return compose(rest[0], rest[1:])
	case command == "dockerfile" && len(rest) == 1:
		return dockerfile(rest[0])
	case command == "schemas" && len(rest) >= 2:
		return nil, schemas(rest[0], rest[1:])
	case command == "kubernetes" && len(rest) == 2:
		return kubernetes(rest[0], rest[1])
	}
	return nil, errors.New(usage)
}
