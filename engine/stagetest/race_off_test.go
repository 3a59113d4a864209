//go:build !race

package stagetest

const raceDetector = false
