package main

import (
	"fmt"
	"os"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

type stage struct {
	Name     string        `json:"name"`
	Base     string        `json:"base"`
	Commands []instruction `json:"commands"`
}

type instruction struct {
	Name string `json:"name"`
	// As BuildKit prints it, variables as they are.
	Text string `json:"text"`
	// What BuildKit made of it.
	Parsed any `json:"parsed"`
}

// dockerfile reads an image's stages with BuildKit's own parser. What it warns of is refused.
func dockerfile(path string) (any, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	parsed, err := parser.Parse(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, warning := range parsed.Warnings {
		return nil, fmt.Errorf("%s: %s", path, warning.Short)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var found []stage
	for _, each := range stages {
		one := stage{Name: each.Name, Base: each.BaseName}
		for _, command := range each.Commands {
			text := command.Name()
			if printed, ok := command.(fmt.Stringer); ok {
				text = printed.String()
			}
			one.Commands = append(one.Commands, instruction{command.Name(), text, command})
		}
		found = append(found, one)
	}
	return found, nil
}
